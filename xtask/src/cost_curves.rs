//! What MINT costs against its settings, measured and counted, as plots for docs/performance.md.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, anyhow};
use clap::Args;
use plotters::prelude::*;
use serde_json::json;

use crate::process::{Cost, build, measure};

#[derive(Debug, Args)]
pub struct CostCurvesArgs {
    /// Weights of ViT-B/16 (`mint-cli weights random`)
    #[arg(long)]
    weights: PathBuf,
    /// An image
    #[arg(long)]
    image: PathBuf,
    /// At least 1,000 class names, a JSON list
    #[arg(long)]
    classes: PathBuf,
    /// Folder for the plots and the numbers
    #[arg(long, default_value = "docs/cost")]
    output: PathBuf,
}

/// One run's settings. The defaults are the official ones.
#[derive(Debug, Clone, Copy)]
struct Settings {
    views: usize,
    classes: usize,
    steps: usize,
    slots: usize,
}

const OFFICIAL: Settings = Settings { views: 64, classes: 200, steps: 3, slots: 512 };

/// A setting that is varied.
struct Curve {
    name: &'static str,
    values: &'static [usize],
    change: fn(&mut Settings, usize),
}

const CURVES: [Curve; 4] = [
    Curve {
        name: "views",
        values: &[10, 16, 32, 64, 96, 128],
        change: |settings, value| settings.views = value,
    },
    Curve {
        name: "classes",
        values: &[10, 100, 200, 500, 1000],
        change: |settings, value| settings.classes = value,
    },
    Curve {
        name: "steps",
        values: &[0, 1, 2, 3, 4, 5],
        change: |settings, value| settings.steps = value,
    },
    Curve {
        name: "slots",
        values: &[64, 512, 1024, 4096],
        change: |settings, value| settings.slots = value,
    },
];

struct Point {
    value: usize,
    cost: Cost,
    teraflops: f64,
}

/// Measures all curves and writes one plot each, and the numbers.
pub fn run(args: &CostCurvesArgs) -> anyhow::Result<()> {
    fs::create_dir_all(&args.output)
        .with_context(|| format!("cannot make the folder `{}`", args.output.display()))?;
    let program = build()?;
    let text = fs::read_to_string(&args.classes)
        .with_context(|| format!("cannot read the class names `{}`", args.classes.display()))?;
    let names: Vec<String> = serde_json::from_str(&text)
        .with_context(|| format!("`{}` is not a JSON list of names", args.classes.display()))?;
    let mut all = Vec::new();
    for curve in CURVES {
        let mut points = Vec::new();
        for &value in curve.values {
            let mut settings = OFFICIAL;
            (curve.change)(&mut settings, value);
            let cost = one_run(&program, args, &names, settings)?;
            let teraflops = teraflops(settings);
            println!(
                "{} {value}: {:.1} CPU s, {:.1} s, {:.0} MB, {teraflops:.2} TFLOP",
                curve.name, cost.cpu, cost.wall, cost.megabytes
            );
            points.push(Point { value, cost, teraflops });
        }
        plot(&args.output.join(format!("{}.svg", curve.name)), curve.name, &points)
            .map_err(|error| anyhow!("a plot cannot be drawn: {error}"))?;
        let numbers = points.iter().map(|point| {
            json!({
                "value": point.value, "cpu_seconds": point.cost.cpu, "seconds": point.cost.wall,
                "megabytes": point.cost.megabytes, "teraflops": point.teraflops,
            })
        });
        all.push(json!({ "setting": curve.name, "points": numbers.collect::<Vec<_>>() }));
    }
    let file = args.output.join("numbers.json");
    fs::write(&file, serde_json::to_string_pretty(&all)? + "\n")
        .with_context(|| format!("cannot write `{}`", file.display()))
}

fn one_run(
    program: &Path,
    args: &CostCurvesArgs,
    names: &[String],
    settings: Settings,
) -> anyhow::Result<Cost> {
    let names = names.get(..settings.classes).context("there are too few class names")?;
    let folder = tempfile::tempdir().context("a temporary folder cannot be made")?;
    let (classes, config) = (folder.path().join("classes.json"), folder.path().join("mint.toml"));
    fs::write(&classes, serde_json::to_string(names)?)?;
    fs::write(&config, format!("[mint]\nbank-slots = {}\n", settings.slots))?;
    let mut command = Command::new(program);
    command.arg("predict").arg(&args.image).arg("--weights").arg(&args.weights);
    command.arg("--classes").arg(classes).arg("--config").arg(config);
    command.args(["--views", &settings.views.to_string()]);
    command.args(["--steps", &settings.steps.to_string(), "--format", "json"]);
    Ok(measure(&mut command)?.0)
}

/// Arithmetic of one image in our order of work, two operations a multiply-add (ViT-B/16).
fn teraflops(Settings { views, classes, steps, slots }: Settings) -> f64 {
    const TOKENS: f64 = 197.0;
    const WIDTH: f64 = 768.0;
    const BLOCKS: f64 = 12.0;
    // Matrices of one block on all tokens: queries, keys, values, output, and the MLP's two.
    let square = 2.0 * TOKENS * WIDTH * WIDTH;
    let attention = 4.0 * TOKENS * TOKENS * WIDTH;
    // The last block runs keys and values for all tokens, and the rest for one.
    let last = 2.0 * square;
    let pass = (BLOCKS - 1.0) * (12.0 * square + attention) + last + square;
    // The prompted block's queries, keys and values are those of the pass without prompts.
    let prompted = pass - 4.0 * square;
    let backward = prompted + (BLOCKS - 1.0) * attention;
    // Class prompts have 4 tokens of their own on average, 512 wide, through 12 blocks.
    let texts = classes as f64 * 4.0 * 12.0 * (24.0 * 512.0 * 512.0);
    let (views, steps) = (views as f64, steps as f64);
    let chosen = (views * 0.1).floor();
    let all_views = views * (pass + if steps > 0.0 { prompted } else { 0.0 });
    let adaptation = steps * chosen * (prompted + backward);
    // The start's texts are shared by all images, but are run once in a run of one image.
    let text_passes = 1.0 + 2.0 * steps;
    let retrieval = steps * 2.0 * 3.0 * views * slots as f64 * WIDTH;
    (all_views + adaptation + prompted + text_passes * texts + retrieval) / 1e12
}

/// CPU seconds and memory, as measured, and the arithmetic scaled to the official setting.
fn plot(file: &Path, name: &str, points: &[Point]) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::new(file, (640, 360)).into_drawing_area();
    area.fill(&WHITE)?;
    let largest = |value: fn(&Point) -> f64| points.iter().map(value).fold(0.0, f64::max) * 1.1;
    let last = points.last().map_or(1, |point| point.value) as f64;
    let rate = points.iter().map(|point| point.cost.cpu).sum::<f64>()
        / points.iter().map(|point| point.teraflops).sum::<f64>();
    let mut chart = ChartBuilder::on(&area)
        .caption(format!("MINT, one image, against {name}"), ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(48)
        .right_y_label_area_size(52)
        .build_cartesian_2d(0.0..last * 1.02, 0.0..largest(|point| point.cost.cpu))?
        .set_secondary_coord(0.0..last * 1.02, 0.0..largest(|point| point.cost.megabytes / 1e3));
    chart.configure_mesh().x_desc(name).y_desc("CPU seconds").light_line_style(WHITE).draw()?;
    chart.configure_secondary_axes().y_desc("peak memory, GB").draw()?;
    let value = |point: &Point| point.value as f64;
    let cpu: Vec<_> = points.iter().map(|point| (value(point), point.cost.cpu)).collect();
    let counted: Vec<_> =
        points.iter().map(|point| (value(point), point.teraflops * rate)).collect();
    let memory: Vec<_> =
        points.iter().map(|point| (value(point), point.cost.megabytes / 1e3)).collect();
    let legend = |color: RGBColor| move |(x, y)| PathElement::new(vec![(x, y), (x + 20, y)], color);
    chart
        .draw_series(LineSeries::new(cpu, BLUE.stroke_width(2)).point_size(3))?
        .label("CPU seconds")
        .legend(legend(BLUE));
    chart
        .draw_series(LineSeries::new(counted, BLACK.stroke_width(1)))?
        .label(format!("arithmetic, at {:.0} GFLOP a CPU second", 1e3 / rate))
        .legend(legend(BLACK));
    chart
        .draw_secondary_series(LineSeries::new(memory, RED.stroke_width(2)).point_size(3))?
        .label("peak memory")
        .legend(legend(RED));
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.8))
        .draw()?;
    area.present()?;
    Ok(())
}
