//! How things are printed: tables, templates, ages and sizes.

mod human;
mod natural;
mod rows;
mod table;
mod template;

pub use human::{ago, bytes_binary, bytes_decimal, coarse_duration, short_id, truncated};
pub use natural::natural_cmp;
pub use rows::{Format, Row, print_rows};
pub use table::table;
pub use template::{Template, TemplateError};
