//! Figures: a table for people, a file for machines.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// What a figure should be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Aim {
    None,
    AtLeast(f64),
    Below(f64),
}

/// One figure: the median of its runs.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    name: String,
    unit: &'static str,
    aim: Aim,
    runs: Vec<f64>,
    /// For people; the latest counts.
    note: Option<String>,
}

/// The figures of a workload, in the order in which they are shown.
#[derive(Debug)]
pub(crate) struct Report {
    name: &'static str,
    figures: Vec<Figure>,
}

impl Aim {
    fn holds(self, value: f64) -> Option<bool> {
        match self {
            Aim::None => None,
            Aim::AtLeast(least) => Some(value >= least),
            Aim::Below(limit) => Some(value < limit),
        }
    }

    fn text(self) -> Option<String> {
        match self {
            Aim::None => None,
            Aim::AtLeast(least) => Some(format!(">= {}", shown(least))),
            Aim::Below(limit) => Some(format!("< {}", shown(limit))),
        }
    }
}

impl Figure {
    fn value(&self) -> f64 {
        median(&self.runs)
    }
}

impl Report {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, figures: Vec::new() }
    }

    /// Adds a run of a figure; figures of the same name are one.
    pub(crate) fn add(&mut self, name: &str, unit: &'static str, aim: Aim, value: f64) {
        match self.figures.iter_mut().find(|figure| figure.name == name) {
            Some(figure) => figure.runs.push(value),
            None => {
                let (name, runs) = (name.to_owned(), vec![value]);
                self.figures.push(Figure { name, unit, aim, runs, note: None });
            }
        }
    }

    /// Says more of a figure that is there.
    pub(crate) fn note(&mut self, name: &str, text: &str) {
        if let Some(figure) = self.figures.iter_mut().find(|figure| figure.name == name) {
            figure.note = Some(text.to_owned());
        }
    }

    /// The median of a figure so far.
    pub(crate) fn value(&self, name: &str) -> Option<f64> {
        self.figures.iter().find(|figure| figure.name == name).map(Figure::value)
    }

    pub(crate) fn table(&self) -> String {
        let wide = self.figures.iter().map(|figure| figure.name.len()).max().unwrap_or_default();
        let mut table = format!("{:wide$}  {:>12}  {:10}  {:>10}\n", self.name, "", "", "aim");
        for figure in &self.figures {
            let (name, value) = (&figure.name, shown(figure.value()));
            let aim = figure.aim.text().unwrap_or_default();
            let holds = match figure.aim.holds(figure.value()) {
                Some(true) => "  holds",
                Some(false) => "  MISSED",
                None => "",
            };
            let line = format!("{name:wide$}  {value:>12}  {:10}  {aim:>10}{holds}", figure.unit);
            table += line.trim_end();
            table.push('\n');
            for line in figure.note.iter().flat_map(|note| note.lines()) {
                table += &format!("    {line}\n");
            }
        }
        table
    }

    /// Writes NAME.json into a directory.
    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        let figures = self.figures.iter().map(|figure| {
            json!({
                "name": figure.name, "value": figure.value(), "unit": figure.unit,
                "aim": figure.aim.text(), "holds": figure.aim.holds(figure.value()),
                "runs": figure.runs, "note": figure.note,
            })
        });
        let text = format!("{:#}\n", Value::from_iter(figures));
        let file = directory.join(format!("{}.json", self.name));
        fs::create_dir_all(directory)
            .and_then(|()| fs::write(&file, text))
            .with_context(|| format!("can't write {}", file.display()))?;
        eprintln!("written to {}", file.display());
        Ok(())
    }
}

/// NaN of nothing.
pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The value below which a share of the values lies; NaN of nothing.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (share * (sorted.len() as f64 - 1.0)).round().max(0.0) as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

/// Three digits that count.
fn shown(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles() {
        let values = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert_eq!((median(&values), quantile(&values, 1.0)), (3.0, 5.0));
        assert_eq!(quantile(&[7.0], 0.99), 7.0);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_figure_is_the_median_and_says_whether_its_aim_holds() {
        let mut report = Report::new("sample");
        for value in [1.0, 3.0, 20.0] {
            report.add("latency", "ms", Aim::Below(5.0), value);
        }
        report.add("rate", "rows/s", Aim::AtLeast(30_000.0), 29_999.0);
        let table = report.table();
        let lines: Vec<_> = table.lines().collect();
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(words(lines[1]), "latency 3.000 ms < 5.000 holds");
        assert_eq!(words(lines[2]), "rate 29999 rows/s >= 30000 MISSED");
        report.note("latency", "slow\nat first");
        let table = report.table();
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines[2..4], ["    slow", "    at first"]);
    }
}
