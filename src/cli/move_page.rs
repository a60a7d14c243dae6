//! The report of `headcount move` as one HTML file that needs nothing else.

use super::move_report::sections;
use super::output::visible;
use crate::provider_move::MoveReport;
use std::fmt::Write as _;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}\
    h1{font-size:1.5rem}h2{font-size:1.1rem;margin:2rem 0 .25rem}table{border-collapse:collapse;width:100%}\
    th,td{text-align:left;padding:.3rem .75rem .3rem 0;border-bottom:1px solid #ddd;vertical-align:top}\
    td:last-child{overflow-wrap:anywhere}\
    code{background:#f2f2f2;padding:.1rem .3rem;overflow-wrap:anywhere}p{margin:.25rem 0 .5rem}li{margin:.5rem 0}\
    @media(prefers-color-scheme:dark){body{background:#161616;color:#e6e6e6}code{background:#2a2a2a}th,td{border-color:#3a3a3a}}";

/// The page. `at` is the time at which the report was made.
pub fn page(report: &MoveReport, at: &str) -> String {
    let title = escaped(&format!("The move from {} to {}", report.from, report.to));
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n<p>As headcount saw it {}.</p>\n\
         <h2>What is left to do</h2>\n<ol>\n",
        escaped(at)
    );
    for step in &report.steps {
        let command = step.command.as_deref();
        let command = command.map(|text| format!("<br><code>{}</code>", escaped(text))).unwrap_or_default();
        let _ = writeln!(page, "<li>{}{command}</li>", escaped(&step.text));
    }
    page.push_str("</ol>\n");
    for section in sections(report).iter().filter(|section| !section.rows.is_empty()) {
        let cells = |tag: &str, cells: &mut dyn Iterator<Item = &str>| {
            cells.map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell))).collect::<String>()
        };
        let _ = writeln!(
            page,
            "<h2>{}</h2>\n<p>{}</p>\n<table>\n<tr>{}</tr>",
            escaped(section.title),
            escaped(&section.text),
            cells("th", &mut section.head.iter().copied())
        );
        for row in &section.rows {
            let _ = writeln!(page, "<tr>{}</tr>", cells("td", &mut row.iter().map(String::as_str)));
        }
        page.push_str("</table>\n");
    }
    page.push_str("</body>\n</html>\n");
    page
}

/// What people typed into names stays text.
fn escaped(text: &str) -> String {
    let text = visible(text);
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn what_people_typed_stays_text() {
        assert_eq!(escaped("<b a=\"1\">&\u{202e}"), "&lt;b a=&quot;1&quot;&gt;&amp;\\u{202e}");
    }
}
