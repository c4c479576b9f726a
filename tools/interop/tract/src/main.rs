//! Runs ONNX files in tract, one job a line of stdin, as worker.py beside this folder says.
use safetensors::tensor::{serialize, Dtype, SafeTensors, TensorView};
use serde_json::{json, Value};
use std::collections::HashMap;
use std::io::{BufRead, Write};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::{bail, format_err};

/// Tensors by name from a safetensors file; it holds what march's graphs take.
fn read(path: &str) -> TractResult<HashMap<String, Tensor>> {
    let bytes = std::fs::read(path)?;
    let file = SafeTensors::deserialize(&bytes)?;
    let mut all = HashMap::new();
    for (name, view) in file.tensors() {
        let dt = match view.dtype() {
            Dtype::F32 => DatumType::F32,
            Dtype::I64 => DatumType::I64,
            other => bail!("{name}: element type {other:?}, wanted F32 or I64"),
        };
        let tensor = unsafe { Tensor::from_raw_dt(dt, view.shape(), view.data())? };
        all.insert(name, tensor);
    }
    Ok(all)
}

fn run(job: &Value) -> TractResult<()> {
    let text = |key: &str| job[key].as_str().unwrap_or_default().to_string();
    let mut given = read(&text("inputs"))?;
    let mut model = tract_onnx::onnx().model_for_path(text("model"))?;
    let names: Vec<String> = model.input_outlets()?.iter().map(|o| model.node(o.node).name.clone()).collect();
    let mut inputs = tvec!();
    for (i, name) in names.iter().enumerate() {
        let tensor = given.remove(name).ok_or_else(|| format_err!("no value for input {name}"))?;
        model.set_input_fact(i, InferenceFact::dt_shape(tensor.datum_type(), tensor.shape()))?;
        inputs.push(tensor.into_tvalue());
    }
    let labels: Vec<String> = model
        .output_outlets()?
        .iter()
        .map(|o| model.outlet_label(*o).unwrap_or(&model.node(o.node).name).to_string())
        .collect();
    let outputs = model.into_typed()?.into_runnable()?.run(inputs)?;
    let mut data = vec![];
    for (name, value) in labels.iter().zip(&outputs) {
        let value = match value.datum_type() {
            DatumType::F32 | DatumType::I64 => value.clone().into_tensor(),
            _ => value.cast_to_dt(DatumType::I64)?.into_owned(), // sizes that tract counts in a type of its own
        };
        data.push((name.clone(), value));
    }
    let mut views = vec![];
    for (name, value) in &data {
        let dt = if value.datum_type() == DatumType::F32 { Dtype::F32 } else { Dtype::I64 };
        views.push((name.clone(), TensorView::new(dt, value.shape().to_vec(), value.as_bytes())?));
    }
    std::fs::write(text("outputs"), serialize(views, None)?)?;
    Ok(())
}

fn main() -> TractResult<()> {
    let mut out = std::io::stdout();
    writeln!(out, "RESULT {}", json!({"runtime": "tract", "version": env!("TRACT_VERSION")}))?;
    for line in std::io::stdin().lock().lines() {
        let job: Value = serde_json::from_str(&line?)?;
        let answer = match run(&job) {
            Ok(()) => json!({"ok": true}),
            Err(e) => json!({"error": format!("{e:#}")}),
        };
        writeln!(out, "RESULT {answer}")?;
        out.flush()?;
    }
    Ok(())
}
