//! Figures, printed with their ratio to the peer's.

/// What a figure counts, and which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Milliseconds; less is better.
    Ms,
    /// Seconds; less is better.
    Seconds,
    /// Megabytes held; less is better.
    Mb,
    /// So many a second; more is better.
    PerSecond,
    /// Megabytes a second; more is better.
    MbPerSecond,
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Ms => format!("{value:.1} ms"),
            Self::Seconds => format!("{value:.2} s"),
            Self::Mb => format!("{value:.2} MB"),
            Self::PerSecond => format!("{value:.1} /s"),
            Self::MbPerSecond => format!("{value:.0} MB/s"),
        }
    }

    /// How many times better ours is.
    fn ratio(self, ours: f64, peer: f64) -> f64 {
        match self {
            Self::Ms | Self::Seconds | Self::Mb => peer / ours,
            Self::PerSecond | Self::MbPerSecond => ours / peer,
        }
    }
}

/// One row of one side.
#[derive(Debug, Clone)]
pub struct Figure {
    what: String,
    value: f64,
    unit: Unit,
}

/// The rows of one side, in order.
#[derive(Debug, Default)]
pub struct Figures {
    side: &'static str,
    rows: Vec<Figure>,
}

impl Figures {
    /// Of a side that has this name.
    pub fn of(side: &'static str) -> Self {
        Self {
            side,
            rows: Vec::new(),
        }
    }

    /// Adds a row, and says so at once: a bench takes minutes.
    pub fn add(&mut self, what: &str, value: f64, unit: Unit) {
        eprintln!("{}: {what}: {}", self.side, unit.show(value));
        self.rows.push(Figure {
            what: what.to_owned(),
            value,
            unit,
        });
    }

    fn get(&self, what: &str) -> Option<f64> {
        let row = self.rows.iter().find(|row| row.what == what);
        row.map(|row| row.value)
    }
}

/// Prints both sides; without a peer the reason stands in its column.
pub fn print(ours: &Figures, peer: Result<&Figures, &str>) {
    println!(
        "{:<48} {:>14} {:>14} {:>8}",
        "what", "skep", "dockerd", "ratio"
    );
    for row in &ours.rows {
        let (theirs, ratio) = match peer.map(|peer| peer.get(&row.what)) {
            Ok(Some(value)) => (
                row.unit.show(value),
                format!("{:.1}x", row.unit.ratio(row.value, value)),
            ),
            Ok(None) => ("-".to_owned(), String::new()),
            Err(_) => ("-".to_owned(), String::new()),
        };
        println!(
            "{:<48} {:>14} {theirs:>14} {ratio:>8}",
            row.what,
            row.unit.show(row.value)
        );
    }
    if let Err(reason) = peer {
        println!("dockerd: {reason}");
    }
}
