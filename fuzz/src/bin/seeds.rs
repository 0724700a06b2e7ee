//! Writes the seeds of all targets into `fuzz/corpus`.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (name, _, seeds) in duralog_fuzz::TARGETS {
        let dir = corpus.join(name);
        std::fs::create_dir_all(&dir)?;
        let seeds = seeds();
        let bytes: usize = seeds.iter().map(Vec::len).sum();
        for (n, seed) in seeds.iter().enumerate() {
            std::fs::write(dir.join(format!("seed-{n:03}")), seed)?;
        }
        println!("{name}: {} seeds, {bytes} bytes", seeds.len());
    }
    Ok(())
}
