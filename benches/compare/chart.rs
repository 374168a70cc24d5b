//! Draws `docs/figures.svg`, which the README shows, from the newest records of comparisons in `benches/records`.
//!
//! Knows no server and measures nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use serde_json::Value;

use super::arguments::RECORDS;
use super::site::{Site, tell};

/// What is drawn: the record, its scenario, what is read, and what the reader is told. Two in a row.
const PANELS: [Panel; 4] = [
    Panel {
        record: "compare-fanout",
        scenario: "fanout-paced",
        title: "Deliveries, 20 events a second",
        unit: "to 1,000 subscribers, per server CPU-second",
    },
    Panel {
        record: "compare-fanout",
        scenario: "fanout-flat-out",
        title: "Deliveries, flat out",
        unit: "to 1,000 subscribers, per server CPU-second",
    },
    Panel {
        record: "compare-echo",
        scenario: "echo-16-deep",
        title: "Echoes, 16 deep",
        unit: "50 connections, per server CPU-second",
    },
    Panel {
        record: "compare-memory",
        scenario: "memory-shared",
        title: "Memory of an idle connection",
        unit: "bytes of user space; less is better",
    },
];

struct Panel {
    record: &'static str,
    scenario: &'static str,
    title: &'static str,
    unit: &'static str,
}

/// One server in a panel.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Bar {
    pub(crate) name: String,
    title: String,
    median: f64,
    least: f64,
    most: f64,
}

const PANEL_WIDTH: f64 = 410.0;
const GAP: f64 = 28.0;
const LABEL_WIDTH: f64 = 120.0;
const VALUE_WIDTH: f64 = 66.0;
const ROW_HEIGHT: f64 = 23.0;
const BAR_HEIGHT: f64 = 14.0;
const HEAD: f64 = 46.0;
const TOP: f64 = 8.0;

const STYLE: &str = "text { font: 12.5px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: #2a2f3a }
.title { font-size: 14px; font-weight: 600 } .small { font-size: 11.5px; fill: #667085 } .ours { font-weight: 600 }
.value { font-variant-numeric: tabular-nums } .end { text-anchor: end }
.bar { fill: #b9c0cd } .bar.ours { fill: #3f5be0 } .bar.bare { fill: none; stroke: #98a1b3; stroke-dasharray: 3 2 }
.range { stroke: #2a2f3a; stroke-opacity: .45 } .axis { stroke: #d5d9e2 }
@media (prefers-color-scheme: dark) { text { fill: #e6e9f0 } .small { fill: #98a2b5 } .bar { fill: #4b5466 }
.bar.ours { fill: #8ea2ff } .bar.bare { stroke: #7a8497 } .range { stroke: #e6e9f0 } .axis { stroke: #3a4150 } }";

/// Draws the chart anew, if there are records of all that it shows: for the README from those of the package, beside them from
/// others.
pub(crate) fn redraw(site: &Site, records: &Path) -> io::Result<()> {
    let to = match records == Path::new(RECORDS) {
        true => site.root.join("docs/figures.svg"),
        false => site.root.join(records).join("figures.svg"),
    };
    let to_tell = to.strip_prefix(&site.root).unwrap_or(&to).display();
    match draw(&newest(&site.root.join(records))?) {
        Ok(svg) => {
            fs::write(&to, svg)?;
            tell(&format!("drew {to_tell}"));
        }
        Err(missing) => tell(&format!("{to_tell} stays as it is: {missing}")),
    }
    Ok(())
}

/// The newest record of each name. Names begin with the date, so the last one in order is the newest.
pub(crate) fn newest(folder: &Path) -> io::Result<BTreeMap<String, Value>> {
    let mut paths =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    let mut newest = BTreeMap::new();
    for path in paths {
        let record: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
        let name = record["name"].as_str().unwrap_or_default().to_owned();
        newest.insert(name, record);
    }
    Ok(newest)
}

/// `Err`: what is missing.
pub(crate) fn draw(records: &BTreeMap<String, Value>) -> Result<String, String> {
    let mut panels = Vec::new();
    for panel in &PANELS {
        let bars = records.get(panel.record).map(|record| bars(record, panel.scenario));
        let bars = bars.filter(|bars| bars.iter().any(|bar| bar.name == "stentor"));
        panels.push((panel, bars.ok_or_else(|| format!("no record of {}", panel.scenario))?));
    }
    let height_of = |bars: &[Bar]| HEAD + bars.len() as f64 * ROW_HEIGHT + 22.0;
    let mut body = String::new();
    let mut top = TOP;
    for pair in panels.chunks(2) {
        for (column, (panel, bars)) in pair.iter().enumerate() {
            write_panel(panel, bars, (column as f64 * (PANEL_WIDTH + GAP), top), &mut body);
        }
        top += pair.iter().map(|(_, bars)| height_of(bars)).fold(0.0, f64::max);
    }
    let mut sources: Vec<String> = Vec::new();
    for panel in &PANELS {
        let text = |key: &str| records[panel.record][key].as_str().unwrap_or_default();
        let source = format!("{}; {}", text("machine"), text("date"));
        if !sources.contains(&source) {
            sources.push(source);
        }
    }
    let of_panels = || PANELS.iter().filter_map(|panel| records[panel.record]["rounds"].as_u64());
    let rounds = match (of_panels().min(), of_panels().max()) {
        (Some(least), Some(most)) if least < most => format!("{least} to {most}"),
        (_, most) => most.unwrap_or(0).to_string(),
    };
    sources.insert(0, format!(
        "Servers in turn, one core for the server, one for the load; medians of {rounds} rounds, lines from least to most. \
         What each does less: benches/records."
    ));
    for source in &sources {
        top += 16.0;
        let _ =
            writeln!(body, "<text class=\"small\" x=\"0\" y=\"{top}\">{}</text>", escaped(source));
    }
    let width = 2.0 * PANEL_WIDTH + GAP;
    let height = top + 8.0;
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
         aria-label=\"Stentor beside other servers: deliveries, echoes and memory\">\n<style>\n{STYLE}\n</style>\n{body}</svg>\n"
    ))
}

/// The bare loop first, for it is the limit; then the best first.
pub(crate) fn bars(record: &Value, scenario: &str) -> Vec<Bar> {
    let tables = record["tables"].as_array().into_iter().flatten();
    let Some(table) = tables.into_iter().find(|table| table["scenario"] == scenario) else {
        return Vec::new();
    };
    let bar = |row: &Value| {
        let number = |key: &str| row["value"][key].as_f64();
        Some(Bar {
            name: row["server"].as_str()?.to_owned(),
            title: row["title"].as_str()?.to_owned(),
            median: number("median")?,
            least: number("least")?,
            most: number("most")?,
        })
    };
    let mut bars: Vec<Bar> =
        table["rows"].as_array().into_iter().flatten().filter_map(bar).collect();
    let sign = if table["best"] == "least" { 1.0 } else { -1.0 };
    bars.sort_by(|one, other| {
        let rank = |bar: &Bar| (bar.name != "bare", sign * bar.median);
        let ((a, b), (c, d)) = (rank(one), rank(other));
        a.cmp(&c).then(b.total_cmp(&d))
    });
    bars
}

fn write_panel(panel: &Panel, bars: &[Bar], (left, top): (f64, f64), out: &mut String) {
    let most = bars.iter().map(|bar| bar.most).fold(1.0, f64::max);
    let scale = (PANEL_WIDTH - LABEL_WIDTH - VALUE_WIDTH) / most;
    let start = left + LABEL_WIDTH;
    let _ = write!(
        out,
        "<text class=\"title\" x=\"{left}\" y=\"{}\">{}</text>\n<text class=\"small\" x=\"{left}\" y=\"{}\">{}</text>\n",
        top + 15.0,
        panel.title,
        top + 31.0,
        panel.unit
    );
    for (index, bar) in bars.iter().enumerate() {
        let row = top + HEAD + index as f64 * ROW_HEIGHT;
        let class = match bar.name.as_str() {
            "stentor" => " ours",
            "bare" => " bare",
            _ => "",
        };
        let width = (bar.median * scale).max(1.5);
        let (base, middle) = (row + BAR_HEIGHT - 3.0, row + BAR_HEIGHT / 2.0);
        let _ = write!(
            out,
            "<text class=\"end{class}\" x=\"{:.1}\" y=\"{base}\">{}</text>\n\
             <rect class=\"bar{class}\" x=\"{start}\" y=\"{row}\" width=\"{width:.1}\" height=\"{BAR_HEIGHT}\" rx=\"2\"/>\n\
             <path class=\"range\" d=\"M{:.1} {middle}H{:.1}\"/>\n\
             <text class=\"value{class}\" x=\"{:.1}\" y=\"{base}\">{}</text>\n",
            start - 8.0,
            escaped(&bar.title),
            start + bar.least * scale,
            start + bar.most * scale,
            start + width.max(bar.most * scale) + 7.0,
            thousands(bar.median)
        );
    }
    let bottom = top + HEAD + bars.len() as f64 * ROW_HEIGHT - 4.0;
    let _ = writeln!(out, "<path class=\"axis\" d=\"M{start} {}V{bottom}\"/>", top + HEAD - 5.0);
}

/// `1,983,388`, to three digits: the rest is noise.
fn thousands(value: f64) -> String {
    let scale = 10f64.powf((value.max(1.0).log10().floor() - 2.0).max(0.0));
    let digits = format!("{:.0}", (value / scale).round() * scale);
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
