//! QR and Data Matrix symbols as SVG, with the label's text below.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use datamatrix::{DataMatrix, SymbolList};
use qrcode::{Color, EcLevel, QrCode};

/// The kinds of symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Symbol {
    /// QR code, error correction M.
    Qr,
    /// Data Matrix, ECC 200, square or oblong, whichever is smaller.
    DataMatrix,
}

/// Dark and light modules, row by row.
struct Modules {
    width: usize,
    dark: Vec<bool>,
    /// How many light modules the standard wants around it.
    quiet: usize,
}

/// Height of the label's text, in modules.
const TEXT_MODULES: usize = 4;

impl Symbol {
    /// An SVG that says the serial to a scanner and the label to a person.
    pub(super) fn svg(self, serial: &str, label: &str) -> Result<String> {
        Ok(self.modules(serial)?.svg(label))
    }

    fn modules(self, serial: &str) -> Result<Modules> {
        match self {
            Self::Qr => {
                let code = QrCode::with_error_correction_level(serial, EcLevel::M)
                    .with_context(|| format!("`{serial}` does not fit a QR code"))?;
                let dark = code.to_colors().into_iter().map(|color| color == Color::Dark).collect();
                Ok(Modules { width: code.width(), dark, quiet: 4 })
            }
            Self::DataMatrix => {
                let code = DataMatrix::encode(serial.as_bytes(), SymbolList::default());
                let map = code.ok().with_context(|| format!("`{serial}` does not fit a Data Matrix"))?.bitmap();
                Ok(Modules { width: map.width(), dark: map.bits().to_vec(), quiet: 1 })
            }
        }
    }
}

impl Modules {
    fn svg(&self, label: &str) -> String {
        let (width, height) = (self.width + 2 * self.quiet, self.dark.len() / self.width + 2 * self.quiet);
        let mut path = String::new();
        for (row, modules) in self.dark.chunks(self.width).enumerate() {
            for (column, _) in modules.iter().enumerate().filter(|(_, dark)| **dark) {
                let _ = write!(path, "M{},{}h1v1h-1z", column + self.quiet, row + self.quiet);
            }
        }
        let label = label.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let (all, middle, line) = (height + TEXT_MODULES, width / 2, height + TEXT_MODULES / 2);
        let (long, size) = (width - 2, TEXT_MODULES / 2);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {all}\" shape-rendering=\"crispEdges\">\n\
             <rect width=\"{width}\" height=\"{all}\" fill=\"#fff\"/>\n<path d=\"{path}\"/>\n\
             <text x=\"{middle}\" y=\"{line}\" font-family=\"monospace\" font-size=\"{size}\" text-anchor=\"middle\" \
             textLength=\"{long}\" lengthAdjust=\"spacingAndGlyphs\">{label}</text>\n</svg>\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_matrix_reads_back() {
        let modules = Symbol::DataMatrix.modules("QD-000001-7Z1FQ0AB").expect("fits");
        assert_eq!(DataMatrix::decode(&modules.dark, modules.width).expect("reads"), b"QD-000001-7Z1FQ0AB");
    }

    #[test]
    fn a_qr_code_has_its_finders_and_a_quiet_zone() {
        let modules = Symbol::Qr.modules("QD-000001-7Z1FQ0AB").expect("fits");
        let width = modules.width;
        assert_eq!(modules.dark.len(), width * width);
        for (row, column) in [(0, 0), (0, width - 7), (width - 7, 0)] {
            assert!((0..7).all(|at| modules.dark[row * width + column + at] && modules.dark[(row + at) * width + column]));
        }
        let svg = modules.svg("<&>");
        assert!(svg.contains("M4,4h1v1h-1z") && svg.contains("&lt;&amp;&gt;") && !svg.contains("M3,"));
    }

    #[test]
    fn what_is_too_long_is_told() {
        assert!(Symbol::DataMatrix.svg(&"x".repeat(5000), "x").is_err());
        assert!(Symbol::Qr.svg(&"x".repeat(5000), "x").is_err());
    }
}
