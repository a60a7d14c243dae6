//! What was measured, for people and for programs.

use super::load::Measured;
use serde::Serialize;

/// What it was measured on.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    pub cores: usize,
    pub processor: Option<String>,
    pub system: String,
    pub database: String,
    pub version: &'static str,
}

impl Machine {
    pub fn of(database: &str) -> Self {
        let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let name = info.lines().find(|line| line.starts_with("model name"));
        Self {
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            processor: name.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned())),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            database: database.to_owned(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

/// One line: what was done, how often, how fast.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Line {
    pub work: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<usize>,
    /// Of each run, in the order in which they were made.
    pub per_second: Vec<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_memory_mb: Option<f64>,
    /// Against the ceiling of the same run, connections alike.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of_ceiling: Option<f64>,
    /// Against one row a commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of_floor: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Line {
    /// One more run. The times are those of the slowest.
    pub fn add(&mut self, measured: &Measured, peak_memory_mb: Option<f64>) {
        self.per_second.push(measured.per_second());
        self.p50_ms = most(self.p50_ms, Some(measured.ms(0.5)));
        self.p99_ms = most(self.p99_ms, Some(measured.ms(0.99)));
        self.peak_memory_mb = most(self.peak_memory_mb, peak_memory_mb);
    }

    pub fn median(&self) -> f64 {
        median(&self.per_second)
    }

    /// The cells of the table that people read.
    fn cells(&self) -> Vec<String> {
        let whole = |value: f64| format!("{value:.0}");
        let rate = match self.per_second.len() {
            0 => String::new(),
            1 => whole(self.median()),
            _ => {
                let least = self.per_second.iter().copied().fold(f64::INFINITY, f64::min);
                let most = self.per_second.iter().copied().fold(0.0, f64::max);
                format!("{} ({}–{})", whole(self.median()), whole(least), whole(most))
            }
        };
        let ms = |value: Option<f64>| value.map_or(String::new(), |ms| format!("{ms:.2}"));
        let share =
            |value: Option<f64>| value.map_or(String::new(), |share| format!("{:.0} %", share * 100.0));
        vec![
            self.work.clone(),
            self.connections.map_or(String::new(), |connections| connections.to_string()),
            rate,
            ms(self.p50_ms),
            ms(self.p99_ms),
            self.peak_memory_mb.map_or(String::new(), whole),
            share(self.of_ceiling),
            share(self.of_floor),
            self.note.clone().unwrap_or_default(),
        ]
    }
}

/// The heads of [`Line::cells`].
const HEADS: [&str; 9] =
    ["work", "connections", "per second", "p50 ms", "p99 ms", "peak MB", "of ceiling", "of floor", ""];

/// The whole of a benchmark.
#[derive(Clone, Debug, Serialize)]
pub struct BenchReport {
    pub bench: &'static str,
    pub machine: Machine,
    /// How it was measured, in a sentence or two.
    pub method: String,
    pub lines: Vec<Line>,
}

impl BenchReport {
    /// Heads and rows, without the columns that no line has anything in.
    pub fn table(&self) -> (Vec<&'static str>, Vec<Vec<String>>) {
        let rows: Vec<Vec<String>> = self.lines.iter().map(Line::cells).collect();
        let used: Vec<usize> =
            (0..HEADS.len()).filter(|&column| rows.iter().any(|row| !row[column].is_empty())).collect();
        let heads = used.iter().map(|&column| HEADS[column]).collect();
        let rows =
            rows.into_iter().map(|row| used.iter().map(|&column| row[column].clone()).collect()).collect();
        (heads, rows)
    }
}

/// The larger one, where there are two.
pub fn most(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    one.into_iter().chain(other).reduce(f64::max)
}

/// The middle one; of an even number the upper of the two. 0 where there is none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_the_middle_and_the_spread() {
        let line = Line { per_second: vec![30.0, 10.0, 20.4], of_ceiling: Some(0.456), ..Line::default() };
        let cells = line.cells();
        assert_eq!(cells[2], "20 (10–30)");
        assert_eq!(cells[6], "46 %");
        assert_eq!(cells.len(), HEADS.len());
        assert_eq!(median(&[]), 0.0);
        let lines = vec![line];
        let machine = Machine::of("sqlite");
        let (heads, rows) = BenchReport { bench: "b", machine, method: String::new(), lines }.table();
        assert_eq!(heads, ["per second", "of ceiling"]);
        assert_eq!(rows, [["20 (10–30)", "46 %"]]);
    }
}
