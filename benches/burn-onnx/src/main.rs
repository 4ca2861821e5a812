//! Runs both towers, as Burn's own importer reads them, on made inputs, and writes inputs and
//! outputs for `mint-cli weights verify`.

use std::collections::BTreeMap;

use burn::tensor::{Device, Int, Tensor, TensorData};
use safetensors::tensor::{Dtype, TensorView};

mod visual {
    include!(concat!(env!("OUT_DIR"), "/model/dynamo_visual.rs"));
}
mod text {
    include!(concat!(env!("OUT_DIR"), "/model/dynamo_text.rs"));
}

/// Start and end of text in the small vocabulary.
const MARKERS: [i64; 2] = [510, 511];

fn main() {
    let target = std::env::args().nth(1).expect("the file to write");
    let device = Device::flex();
    let pixels: Vec<f32> =
        (0..4 * 3 * 32 * 32).map(|index| ((index * 7919) % 1009) as f32 / 252.0 - 2.0).collect();
    let mut ids = Vec::new();
    for text in 0..6 {
        let words = 3 + 4 * text;
        let mut row = vec![MARKERS[0]];
        row.extend((0..words).map(|word| (10 + 97 * word * (text + 1)) % 500));
        row.push(MARKERS[1]);
        row.resize(77, 0);
        ids.extend(row);
    }
    let images = Tensor::<4>::from_data(TensorData::new(pixels.clone(), [4, 3, 32, 32]), &device);
    let tokens = Tensor::<2, Int>::from_data(TensorData::new(ids.clone(), [6, 77]), &device);
    let load = |name: &str| format!("{}/model/{name}.bpk", env!("OUT_DIR"));
    let image_embeds = visual::Model::from_file(&load("dynamo_visual"), &device).forward(images);
    let text_embeds = text::Model::from_file(&load("dynamo_text"), &device).forward(tokens);
    let floats = |tensor: Tensor<2>| tensor.into_data().try_into_vec::<f32>().expect("floats");
    let floats_le =
        |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let bytes = BTreeMap::from([
        ("pixel_values", (Dtype::F32, vec![4, 3, 32, 32], floats_le(&pixels))),
        (
            "input_ids",
            (Dtype::I64, vec![6, 77], ids.iter().flat_map(|id| id.to_le_bytes()).collect()),
        ),
        ("image_embeds", (Dtype::F32, vec![4, 32], floats_le(&floats(image_embeds)))),
        ("text_embeds", (Dtype::F32, vec![6, 32], floats_le(&floats(text_embeds)))),
    ]);
    let views = bytes.iter().map(|(name, (dtype, shape, bytes))| {
        (*name, TensorView::new(*dtype, shape.clone(), bytes).expect("the bytes fill the shape"))
    });
    safetensors::serialize_to_file(views, None, target.as_ref()).expect("the file can be written");
}
