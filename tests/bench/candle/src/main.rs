//! candle's quantised Qwen3 on one prompt after the other: bench-candle MODEL.gguf JOB.json
//!
//! The job holds `promptIds` (the warm-up's first), the ids `yes` and `no`, and `seconds`, after which no further prompt begins. Prints
//! `begin` and `end` around the measured prompts, then a line of JSON.

use std::{env, error::Error, fs::File, time::Instant};

use candle_core::{Device, Tensor, quantized::gguf_file};
use candle_transformers::models::quantized_qwen3::ModelWeights;
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let [_, model, job] = env::args().collect::<Vec<_>>().try_into().map_err(|_| "wanted: MODEL.gguf JOB.json")?;
    let job: Value = serde_json::from_reader(File::open(job)?)?;
    let prompts: Vec<Vec<u32>> = serde_json::from_value(job["promptIds"].clone())?;
    let [yes, no] = ["yes", "no"].map(|name| job[name].as_u64().unwrap() as usize);

    let started = Instant::now();
    let mut file = File::open(model)?;
    let content = gguf_file::Content::read(&mut file)?;
    let mut model = ModelWeights::from_gguf(content, &mut file, &Device::Cpu)?;
    let load_seconds = started.elapsed().as_secs_f64();

    let mut score = |ids: &[u32]| -> candle_core::Result<f64> {
        model.clear_kv_cache();
        let logits =
            model.forward(&Tensor::new(ids, &Device::Cpu)?.unsqueeze(0)?, 0)?.flatten_all()?.to_vec1::<f32>()?;
        Ok(1.0 / (1.0 + f64::from(logits[no] - logits[yes]).exp()))
    };
    score(&prompts[0])?;
    println!("begin");
    let started = Instant::now();
    let (mut scores, mut first) = (Vec::new(), None);
    for ids in &prompts[1..] {
        scores.push(score(ids)?);
        first.get_or_insert(started.elapsed().as_secs_f64());
        if started.elapsed().as_secs_f64() >= job["seconds"].as_f64().unwrap() {
            break;
        }
    }
    let pass_seconds = started.elapsed().as_secs_f64();
    println!("end");
    println!(
        "{}",
        json!({ "loadSeconds": load_seconds, "passSeconds": pass_seconds, "firstScoreSeconds": first, "scores": scores })
    );
    Ok(())
}
