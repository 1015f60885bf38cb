//! Tables of figures, as Markdown, so that what a benchmark prints can be kept as it is.

use std::fmt::Write as _;

/// From the least to the most.
pub fn sorted(all: &[f64]) -> Vec<f64> {
    let mut all = all.to_vec();
    all.sort_by(f64::total_cmp);
    all
}

/// The middle one; none of none.
pub fn median(all: &[f64]) -> Option<f64> {
    let all = sorted(all);
    let middle = all.len() / 2;
    let upper = *all.get(middle)?;
    if all.len() % 2 == 1 { Some(upper) } else { Some((all[middle - 1] + upper) / 2.0) }
}

/// With so many digits after the point; a dash where there is none.
pub fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
}

/// A Markdown table whose columns stand below each other; a column of numbers stands to the right.
pub fn push(text: &mut String, head: &[String], rows: Vec<Vec<String>>) {
    let numeric = |column: usize| rows.iter().all(|row| row[column].chars().all(|c| c.is_ascii_digit() || ".–".contains(c)));
    let width = |column: usize| rows.iter().chain([&head.to_vec()]).map(|row| row[column].chars().count()).max().unwrap_or(0);
    let columns: Vec<(usize, bool)> = (0..head.len()).map(|column| (width(column), numeric(column))).collect();
    let mut line = |cells: &[String]| {
        for (cell, (width, right)) in cells.iter().zip(&columns) {
            let _ = if *right { write!(text, "| {cell:>width$} ") } else { write!(text, "| {cell:<width$} ") };
        }
        text.push_str("|\n");
    };
    line(head);
    line(
        &columns
            .iter()
            .map(|(width, right)| if *right { format!("{}:", "-".repeat(width - 1)) } else { "-".repeat(*width) })
            .collect::<Vec<_>>(),
    );
    rows.iter().for_each(|row| line(row));
}
