//! Images that tables name: grey PNG files as numbers.

use std::fs::File;
use std::io::{BufReader, ErrorKind};
use std::path::{Component, Path};

use png::{BitDepth, ColorType, Decoder, Limits, Transformations};

use crate::variable::Image;

/// Adds the pixels of an image, row by row, each from 0 (black) to 1. Says what is wrong without saying what is there.
pub(crate) fn add_pixels(
    folder: Option<&Path>,
    name: &str,
    image: Image,
    into: &mut Vec<f64>,
) -> Result<(), &'static str> {
    let folder = folder.ok_or("names an image, and this table lies in no folder")?;
    let name = Path::new(name);
    if !name.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err("is no path from the folder of the table down to an image");
    }
    let file = File::open(folder.join(name)).map_err(|error| match error.kind() {
        ErrorKind::NotFound => "names an image that is not there",
        _ => "names an image that cannot be opened",
    })?;
    let most = 16 * (image.width * image.height + image.height) + (1 << 16);
    let mut decoder = Decoder::new_with_limits(BufReader::new(file), Limits { bytes: most });
    decoder.set_transformations(Transformations::EXPAND);
    let mut reader = decoder.read_info().map_err(|_| "names a file that is no PNG image")?;
    let (width, height) = (reader.info().width as usize, reader.info().height as usize);
    if (width, height) != (image.width, image.height) {
        return Err("names an image of another size than the plan's");
    }
    let (color, depth) = reader.output_color_type();
    if color != ColorType::Grayscale {
        return Err("names an image that is not grey");
    }
    let mut bytes = vec![0; reader.output_buffer_size().ok_or("names an image that is too large")?];
    let damaged = "names a damaged image";
    let info = reader.next_frame(&mut bytes).map_err(|_| damaged)?;
    let bytes = bytes.get(..info.buffer_size()).ok_or(damaged)?;
    let before = into.len();
    match depth {
        BitDepth::Eight => into.extend(bytes.iter().map(|grey| f64::from(*grey) / 255.0)),
        BitDepth::Sixteen => {
            into.extend(bytes.as_chunks::<2>().0.iter().map(|grey| f64::from(u16::from_be_bytes(*grey)) / 65_535.0))
        }
        _ => return Err(damaged),
    }
    if into.len() - before == width * height { Ok(()) } else { Err(damaged) }
}
