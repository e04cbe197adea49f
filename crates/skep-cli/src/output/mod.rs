//! How things are printed: tables, templates, ages and sizes.

mod human;
mod json;
mod log;
mod messages;
mod natural;
mod quote;
mod rows;
mod table;
mod template;
mod times;

pub use human::{
    ago, bytes_binary, bytes_decimal, bytes_decimal_to, coarse_duration, go_duration, short_id,
    truncated,
};
pub use json::escaped_json;
pub(crate) use json::{escaped, indented_json};
pub use log::warning;
#[cfg(test)]
pub(crate) use messages::seen;
pub(crate) use messages::{Extent, Messages};
pub use natural::natural_cmp;
pub use quote::quoted;
pub use rows::{Format, Item, List, Row, print_rows};
pub use table::{table, table_of};
pub(crate) use template::shortest;
pub use template::{Template, TemplateError};
pub use times::{local_text, of_unix, unix_query};
