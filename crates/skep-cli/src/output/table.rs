//! Columns, laid out as Docker's tables: three spaces between, at least ten wide.

/// A column is at least this wide, its gap included.
const LEAST: usize = 10;
const GAP: usize = 3;

/// Lays out rows of cells; the first row is the heads. Every line ends with a newline. The last
/// column is not padded.
pub fn table(rows: &[Vec<String>]) -> String {
    table_of(rows, LEAST)
}

/// The same with another least width of columns.
pub fn table_of(rows: &[Vec<String>], least: usize) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            let widest = rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max();
            (widest.unwrap_or(0) + GAP).max(least)
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            text.push_str(cell);
            if column + 1 < row.len() {
                let pad = widths[column] - cell.chars().count();
                text.extend(std::iter::repeat_n(' ', pad));
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_padded_and_the_last_is_not() {
        let rows =
            [["ID", "NAME"], ["abcdefghijkl", "x"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows), "ID             NAME\nabcdefghijkl   x\n");
        let rows = [["A", "B"], ["1", "2"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows), "A         B\n1         2\n");
    }
}
