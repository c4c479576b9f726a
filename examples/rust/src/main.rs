//! Train with step.onnx in Rust: `train PROGRAM BATCHES RATE` prints a loss a step.
use ort::session::{Session, SessionInputValue};
use ort::value::{DynValue, Tensor, ValueType};
use safetensors::SafeTensors;
use std::collections::HashMap;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let (program, rate) = (&args[1], args[3].parse::<f32>()?);
    let (start, batches) = (std::fs::read(format!("{program}/init.safetensors"))?, std::fs::read(&args[2])?);
    let (start, batches) = (SafeTensors::deserialize(&start)?, SafeTensors::deserialize(&batches)?);

    let environment = ort::init().build()?;
    let mut step = Session::builder(&environment)?.commit_from_file(format!("{program}/step.onnx"))?;
    let mut state: HashMap<String, DynValue> = HashMap::new();
    for input in step.inputs() {
        let ValueType::Tensor { shape, .. } = input.dtype() else { continue };
        let name = input.name();
        let size = shape.iter().product::<i64>() as usize;
        let values = match start.tensor(name) {
            Ok(t) => t.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect(),
            Err(_) if name.ends_with(".m") || name.ends_with(".v") => vec![0f32; size],
            Err(_) => continue, // of the batch
        };
        state.insert(name.into(), Tensor::from_array((shape.to_vec(), values))?.into_dyn());
    }
    for t in 0..batches.tensor("tokens")?.shape()[0] {
        let mut inputs: HashMap<String, SessionInputValue> = HashMap::new();
        for (name, all) in batches.tensors() {
            let shape: Vec<i64> = all.shape()[1..].iter().map(|&n| n as i64).collect();
            let size = shape.iter().product::<i64>() as usize;
            let values: Vec<i64> = all.data()[4 * t * size..4 * (t + 1) * size].chunks_exact(4).map(|b| i32::from_le_bytes(b.try_into().unwrap()) as i64).collect();
            inputs.insert(name, Tensor::from_array((shape, values))?.into());
        }
        inputs.insert("lr".into(), Tensor::from_array(((), vec![rate]))?.into());
        inputs.insert("step".into(), Tensor::from_array(((), vec![t as i64 + 1]))?.into());
        for (name, value) in &state {
            inputs.insert(name.clone(), value.view().into());
        }
        let mut outputs = step.run(inputs)?;
        let loss = outputs["loss_sum"].try_extract_tensor::<f32>()?.1[0] / outputs["count"].try_extract_tensor::<i64>()?.1[0] as f32;
        state = state.into_keys().map(|name| (outputs.remove(format!("{name}.new")).expect("a new value"), name)).map(|(v, n)| (n, v)).collect();
        println!("{loss}");
    }
    Ok(())
}
