//! Measures the decoding throughput of one thread in images per second: `decode_speed IMAGE...`.
//!
//! Each method processes all images several times, alternating with the others; the median is
//! printed.

use cvhost_data::{decode, decode_scaled, recycle, size};
use cvhost_plugin_api::data::ImageSource;
use std::error::Error;
use std::time::Instant;

const ROUNDS: usize = 7;

type Method = fn(&ImageSource) -> cvhost::error::Result<()>;

fn main() -> Result<(), Box<dyn Error>> {
    let sources: Vec<ImageSource> = std::env::args().skip(1).map(ImageSource::file).collect();
    if sources.is_empty() {
        return Err("specify at least one image".into());
    }
    let methods: [(&str, Method); 4] = [
        ("decode", |source| decode(source).map(drop)),
        ("decode and recycle", |source| decode(source).map(recycle)),
        ("decode scaled, at least 224x224, and recycle", |source| {
            decode_scaled(source, (224, 224)).map(|scaled| recycle(scaled.image))
        }),
        ("size", |source| size(source).map(drop)),
    ];
    let mut rates = vec![Vec::new(); methods.len()];
    for _ in 0..ROUNDS {
        for ((_, method), rates) in methods.iter().zip(&mut rates) {
            let start = Instant::now();
            for source in &sources {
                method(source)?;
            }
            rates.push(sources.len() as f64 / start.elapsed().as_secs_f64());
        }
    }
    for ((name, _), rates) in methods.iter().zip(&mut rates) {
        rates.sort_by(f64::total_cmp);
        println!("{:>9.0} images/s  {name}", rates.get(ROUNDS / 2).unwrap_or(&0.0));
    }
    Ok(())
}
