//! Writes the views of a picture as files: `cargo run -p mint-augment --example views -- PICTURE FOLDER`

use std::error::Error;
use std::path::Path;

use mint_augment::image::{self, RgbImage};
use mint_augment::{ViewConfig, ViewGenerator, ViewSeed};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [picture, folder] = &arguments[..] else {
        return Err("give a PICTURE and a FOLDER".into());
    };
    write_views(&image::open(picture)?.into_rgb8(), Path::new(folder))
}

/// One clean view and seven random crops, 224 x 224 pixels each.
pub(crate) fn write_views(picture: &RgbImage, folder: &Path) -> Result<(), Box<dyn Error>> {
    let generator = ViewGenerator::new(ViewConfig { count: 8, ..ViewConfig::default() })?;
    let views = generator.views(picture, ViewSeed { seed: 0, image: 0 })?;
    for view in 0..views.count {
        let picture = views.picture(view).ok_or("mixed views are not pictures")?;
        picture.save(folder.join(format!("view-{view}.png")))?;
    }
    Ok(())
}
