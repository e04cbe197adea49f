//! How things are printed: tables, templates, ages and sizes.

mod human;
mod log;
mod messages;
mod natural;
mod rows;
mod table;
mod times;

pub use human::{
    ago, bytes_binary, bytes_decimal, bytes_decimal_to, coarse_duration, short_id, truncated,
};
pub use log::warning;
#[cfg(test)]
pub(crate) use messages::seen;
pub(crate) use messages::{Extent, Messages};
pub use natural::natural_cmp;
pub use rows::{Format, Item, List, Row, print_rows};
pub use table::{table, table_of};
pub use times::{local_text, of_unix, unix_query};

pub use skep_objects::go_duration::print as go_duration;
pub use skep_objects::template::{
    Template, TemplateError, escaped, escaped_json, indented_json, quoted, shortest,
};
