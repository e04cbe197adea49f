//! `container stats`: what containers use, once or over and over.

mod sample;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use futures::stream::{FuturesUnordered, SelectAll};
use futures::{Stream, StreamExt as _};
use serde_json::Value;

use crate::client::{escape, filters, json_lines, url};
use crate::cmd::objects::text;
use crate::context::Context;
use crate::error::{CliError, join};
use crate::grammar::Matches;
use crate::output::{Format, Item, List, short_id};

/// How often the screen is drawn anew.
const REFRESH: Duration = Duration::from_millis(500);

const LIST: List<'_> = List {
    kind: "*container.statsContext",
    columns: &[
        ("CONTAINER ID", "ID"),
        ("NAME", "Name"),
        ("CPU %", "CPUPerc"),
        ("MEM USAGE / LIMIT", "MemUsage"),
        ("MEM %", "MemPerc"),
        ("NET I/O", "NetIO"),
        ("BLOCK I/O", "BlockIO"),
        ("PIDS", "PIDs"),
    ],
    heads: &[("CONTAINER", "Container")],
    raw: &[],
};

pub(super) async fn run(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let names = match matches.args() {
        [] => listed(context, matches.flag("all")).await?,
        names => names.to_vec(),
    };
    let format = match matches.text("format") {
        "" => context.setting("statsFormat").unwrap_or_default(),
        format => format,
    };
    let format = Format::read(format);
    match matches.flag("no-stream") {
        true => once(context, matches, &names, &format).await,
        false => follow(context, matches, names, &format).await,
    }
}

/// Ids of the containers that run, or of all.
async fn listed(context: &Context, all: bool) -> Result<Vec<String>, CliError> {
    let all = if all { "1" } else { "" };
    let found = context
        .client
        .get(&url("/containers/json", &[("all", all)]))
        .await?;
    let ids = found.as_array().into_iter().flatten();
    Ok(ids.map(|one| short_id(text(one, "/Id"))).collect())
}

async fn once(
    context: &Context,
    matches: &Matches,
    names: &[String],
    format: &Format,
) -> Result<(), CliError> {
    let full = matches.flag("no-trunc");
    let ask = |at: usize, name: String| async move {
        let path = format!("/containers/{}/stats?stream=0", escape(&name));
        (
            at,
            context
                .client
                .get(&path)
                .await
                .map(|stats| sample::item(&name, &stats, full)),
        )
    };
    // Each answer takes the daemon a second: they are asked for together.
    let asked: FuturesUnordered<_> = names
        .iter()
        .enumerate()
        .map(|(at, name)| ask(at, name.clone()))
        .collect();
    let mut answers: Vec<_> = asked.collect().await;
    answers.sort_by_key(|(at, _)| *at);
    let (mut items, mut errors) = (Vec::new(), Vec::new());
    for (_, answer) in answers {
        match answer {
            Ok(item) => items.push(item),
            Err(error) => errors.push(error),
        }
    }
    join(errors)?;
    LIST.print(format, &items)
}

type Samples<'a> = std::pin::Pin<Box<dyn Stream<Item = (String, Option<Value>)> + Send + 'a>>;

/// One container's numbers as they come; the last item says that there are no more.
fn samples<'a>(context: &'a Context, name: String) -> Samples<'a> {
    let opened = async move {
        let path = format!("/containers/{}/stats?stream=1", escape(&name));
        let bytes = context
            .client
            .stream(http::Method::GET, &path, &[], None)
            .await;
        let ended = futures::stream::iter([(name.clone(), None)]);
        match bytes {
            Ok(bytes) => {
                let values = json_lines(bytes);
                let told = values.filter_map(|value| async { value.ok() });
                told.map(move |value| (name.clone(), Some(value)))
                    .chain(ended)
                    .boxed()
            }
            Err(_) => ended.boxed(),
        }
    };
    Box::pin(futures::stream::once(opened).flatten())
}

async fn follow(
    context: &Context,
    matches: &Matches,
    names: Vec<String>,
    format: &Format,
) -> Result<(), CliError> {
    let all_of_them = matches.args().is_empty();
    for name in names.iter().filter(|_| !all_of_them) {
        context
            .client
            .get(&format!("/containers/{}/json", escape(name)))
            .await?;
    }
    let query = filters(&["type=container".to_owned()])?;
    let events = url("/events", &[("filters", &query)]);
    let bytes = context
        .client
        .stream(http::Method::GET, &events, &[], None)
        .await?;
    let mut events = json_lines(bytes);
    let mut screen = Screen::new(matches, format);
    let mut all: SelectAll<Samples<'_>> = SelectAll::new();
    for name in names {
        screen.expect(&name);
        all.push(samples(context, name));
    }
    let mut tick = tokio::time::interval(REFRESH);
    loop {
        tokio::select! {
            Some((name, value)) = all.next(), if !all.is_empty() => match value {
                Some(value) => screen.take(&name, &value),
                None if all_of_them && !matches.flag("all") => screen.forget(&name),
                None => {}
            },
            event = events.next() => {
                let Some(event) = event else { return Ok(()) };
                let event = event?;
                let id = short_id(text(&event, "/Actor/ID"));
                match text(&event, "/Action") {
                    "destroy" if all_of_them => screen.forget(&id),
                    "start" if all_of_them => {
                        screen.expect(&id);
                        all.push(samples(context, id));
                    }
                    _ => {}
                }
            }
            _ = tick.tick() => {
                screen.draw()?;
                // Those that were named are all that will ever be.
                if !all_of_them && all.is_empty() {
                    return Ok(());
                }
            }
        }
    }
}

/// What is shown, in the order in which the containers came.
struct Screen<'a> {
    format: &'a Format,
    full: bool,
    order: Vec<String>,
    items: BTreeMap<String, Item>,
}

impl<'a> Screen<'a> {
    fn new(matches: &Matches, format: &'a Format) -> Self {
        Self {
            format,
            full: matches.flag("no-trunc"),
            order: Vec::new(),
            items: BTreeMap::new(),
        }
    }

    fn expect(&mut self, name: &str) {
        if !self.items.contains_key(name) {
            self.order.push(name.to_owned());
            self.items.insert(name.to_owned(), sample::unknown(name));
        }
    }

    fn take(&mut self, name: &str, stats: &Value) {
        if self.items.contains_key(name) {
            self.items
                .insert(name.to_owned(), sample::item(name, stats, self.full));
        }
    }

    fn forget(&mut self, name: &str) {
        self.order.retain(|other| other != name);
        self.items.remove(name);
    }

    /// Draws over what was there: line by line, then the rest is cleared.
    fn draw(&self) -> Result<(), CliError> {
        let items: Vec<Item> = self
            .order
            .iter()
            .filter_map(|name| self.items.get(name))
            .cloned()
            .collect();
        let text = LIST.render(self.format, &items)?;
        let mut out = std::io::stdout().lock();
        match self.format {
            Format::Table | Format::TableOf(_) => {
                let lines = text.replace('\n', "\x1b[K\n");
                write!(out, "\x1b[H{lines}\x1b[J")?;
            }
            _ => out.write_all(text.as_bytes())?,
        }
        Ok(out.flush()?)
    }
}
