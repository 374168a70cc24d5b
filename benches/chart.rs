//! Draws the figures of the newest records: `cargo bench --bench chart` writes `docs/figures.svg`, which the README
//! shows.
//!
//! Knows no server and measures nothing; what it draws is in `benches/records`, with machine, date and command.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use serde_json::Value;

/// One bar: the record, its figure, and what the reader is told.
const BARS: &[(&str, &str, &str)] = &[
    (
        "fanout-paced",
        "deliveries per server CPU-second",
        "fan-out, 1,000 subscribers, 20 events a second",
    ),
    ("fanout-flat-out", "deliveries per server CPU-second", "fan-out, 1,000 subscribers, flat out"),
    ("echo-1-deep", "echoes per server CPU-second", "echo of 64 bytes, 1 deep"),
    ("echo-16-deep", "echoes per server CPU-second", "echo of 64 bytes, 16 deep"),
];
const WIDTH: u32 = 760;
const BAR_HEIGHT: u32 = 18;
const ROW_HEIGHT: u32 = 48;
const TOP: u32 = 56;

fn main() -> io::Result<()> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let records = newest(&package.join("benches/records"))?;
    fs::write(package.join("docs/figures.svg"), draw(&records)?)
}

/// The newest record of each name. Names begin with the date, so the last one in order is the newest.
fn newest(folder: &Path) -> io::Result<BTreeMap<String, Value>> {
    let mut paths =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    let mut newest = BTreeMap::new();
    for path in paths {
        let record: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        // 2026-11-21-echo-1-deep
        let name = stem.splitn(4, '-').nth(3).unwrap_or(stem);
        newest.insert(name.to_owned(), record);
    }
    Ok(newest)
}

fn draw(records: &BTreeMap<String, Value>) -> io::Result<String> {
    let missing = |name: &str| {
        io::Error::other(format!("benches/records has no `{name}` with the figure to draw"))
    };
    let mut bars = Vec::new();
    for (name, figure, label) in BARS {
        let value =
            records.get(*name).and_then(|record| record["figures"][figure]["value"].as_f64());
        bars.push((*label, value.ok_or_else(|| missing(name))?));
    }
    let any = records.get(BARS[0].0).ok_or_else(|| missing(BARS[0].0))?;
    let text = |key: &str| any[key].as_str().unwrap_or_default();
    let most = bars.iter().map(|(_, value)| *value).fold(1.0, f64::max);
    let rows = u32::try_from(bars.len()).map_err(io::Error::other)?;
    let height = TOP + rows * ROW_HEIGHT + 28;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-label=\"Messages sent for one second of the server's processor time\">\n<style>\n\
         text {{ font: 14px system-ui, sans-serif; fill: #1f2430 }} .small {{ font-size: 12px; fill: #5a6272 }}\n\
         .bar {{ fill: #4560e8 }} @media (prefers-color-scheme: dark) {{ text {{ fill: #e8eaf0 }} .small {{ fill: #a4abba }} \
         .bar {{ fill: #93a7ff }} }}\n</style>\n\
         <text x=\"0\" y=\"22\" font-weight=\"600\">Messages sent for one second of the server's processor time</text>\n"
    );
    let mut top = TOP;
    for (label, value) in bars {
        let width = (value / most * f64::from(WIDTH - 130)).max(1.0);
        let middle = top + 6 + BAR_HEIGHT - 4;
        let _ = write!(
            svg,
            "<text class=\"small\" x=\"0\" y=\"{top}\">{label}</text>\n\
             <rect class=\"bar\" x=\"0\" y=\"{}\" width=\"{width:.0}\" height=\"{BAR_HEIGHT}\" rx=\"3\"/>\n\
             <text x=\"{:.0}\" y=\"{middle}\">{}</text>\n",
            top + 6,
            width + 8.0,
            thousands(value),
        );
        top += ROW_HEIGHT;
    }
    let source = format!("{}; {}", text("machine"), text("date"));
    let _ =
        write!(svg, "<text class=\"small\" x=\"0\" y=\"{}\">{source}</text>\n</svg>\n", height - 8);
    Ok(svg)
}

/// `1,983,388`, to three digits: the rest is noise.
fn thousands(value: f64) -> String {
    let scale = 10f64.powf((value.max(1.0).log10().floor() - 2.0).max(0.0));
    let digits = format!("{:.0}", (value / scale).round() * scale);
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
