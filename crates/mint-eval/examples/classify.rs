//! From a picture to ranked labels, by any method:
//! `cargo run -p mint-eval --example classify -- WEIGHTS METHOD PICTURE NAME NAME...`

use std::error::Error;
use std::path::Path;

use mint_clip::burn::tensor::Device;
use mint_clip::{Clip, Lanes, LoadOptions};
use mint_eval::{
    MethodId, RunConfig, Session, TrainedPrompts, build_methods, probabilities, ranking,
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [weights, method, picture, names @ ..] = &arguments[..] else {
        return Err("give WEIGHTS, a METHOD, a PICTURE and class names".into());
    };
    let labels = classify(weights.as_ref(), method.parse()?, picture.as_ref(), names)?;
    for (name, probability) in labels {
        println!("{:5.1} %  {name}", 100.0 * probability);
    }
    Ok(())
}

/// The labels of a picture with their probabilities, the best first.
pub(crate) fn classify(
    weights: &Path,
    method: MethodId,
    picture: &Path,
    names: &[String],
) -> Result<Vec<(String, f32)>, Box<dyn Error>> {
    let clip = Clip::open(weights, LoadOptions::default(), &Device::flex(), Lanes::per_core())?;
    let tokenizer = clip.tokenizer();
    let config = RunConfig { methods: vec![method], ..RunConfig::default() };
    let mut methods = build_methods(&config, &clip, &tokenizer, &TrainedPrompts::default())?;
    let mut session = Session::new(&clip, &tokenizer, names, &mut methods, &config)?;
    let picture = mint_datasets::decode(&std::fs::read(picture)?)?;
    let outcome = session.classify(&picture, 0)?.remove(0);
    let probabilities = probabilities(&outcome, 1.0).ok_or("votes have no probabilities")?;
    let label = |class: usize| (names[class].clone(), probabilities[class]);
    Ok(ranking(&outcome.scores, 5).into_iter().map(label).collect())
}
