//! The status screen for people: what is wrong, why, what to do next. No borders: box characters are of ambiguous
//! width in Chinese terminals.

use super::status::{LogState, Status};
use std::fmt::Write as _;
use unicode_width::UnicodeWidthStr;

/// Pads to a width in terminal cells (two for a Han character).
pub fn pad(text: &str, cells: usize) -> String {
    format!("{text}{}", " ".repeat(cells.saturating_sub(text.width())))
}

fn right(text: &str, cells: usize) -> String {
    format!("{}{text}", " ".repeat(cells.saturating_sub(text.width())))
}

/// A count with thousands separators; `unknown` for what is not known.
pub fn count(n: Option<u64>) -> String {
    let Some(n) = n else { return "unknown".into() };
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            out.push(',');
        }
        out.push(c);
    }
    out
}

fn short(hash: Option<tally_protocol::hash::Hash>) -> String {
    hash.map_or("-".into(), |h| h.to_string()[..12].to_owned())
}

/// Rows as columns two spaces apart; `numbers` are aligned to the right.
pub(super) fn table(out: &mut String, head: &[&str], numbers: &[usize], rows: &[Vec<String>]) {
    let width = |c: usize| rows.iter().map(|r| r[c].width()).chain([head[c].width()]).max().unwrap_or(0);
    let widths: Vec<_> = (0..head.len()).map(width).collect();
    let mut line = |cells: Vec<String>| {
        let mut text = String::from(" ");
        for (c, cell) in cells.iter().enumerate() {
            let cell = if numbers.contains(&c) { right(cell, widths[c]) } else { pad(cell, widths[c]) };
            text = format!("{text} {cell} ");
        }
        let _ = writeln!(out, "{}", text.trim_end());
    };
    line(head.iter().map(|h| (*h).to_owned()).collect());
    rows.iter().for_each(|r| line(r.clone()));
}

fn agrees(agrees: Option<bool>, since: Option<&String>) -> String {
    match (agrees, since) {
        (Some(true), _) => "agrees".to_owned(),
        (Some(false), Some(t)) => format!("differs since {t}"),
        _ => "unknown".to_owned(),
    }
}

/// The whole screen.
pub fn render(s: &Status) -> String {
    let mut out = String::new();
    let overall = match s.actions.len() {
        0 => "OK".to_owned(),
        n => format!("needs attention: {n}"),
    };
    let n = &s.node;
    let _ = writeln!(
        out,
        "NODE     {} {} ({})   tally {}   epoch {}   charter {}   catalog {}",
        n.division,
        n.name,
        n.level.name(),
        n.version,
        n.epoch,
        s.charter_version,
        s.catalog_version
    );
    let _ = writeln!(out, "OVERALL  {overall}");
    let _ = writeln!(out, "HOLDS    {} distinct records   digest {}", count(s.records), short(s.digest));
    if let Some(p) = &s.parent {
        let ack = p.last_ack.clone().unwrap_or("never".into());
        let skew = p.clock_skew_ms.map_or("unknown".into(), |ms| format!("{ms} ms"));
        let (d, state, unacked) = (p.division, p.state.name(), count(Some(p.unacked_records)));
        let _ = writeln!(out, "PARENT   {d} {state}   last confirmation {ack}   unconfirmed {unacked}   clock {skew}");
        let _ = writeln!(out, "         its copy {}", agrees(p.agrees, p.since.as_ref()));
    }
    out.push('\n');
    let rows: Vec<Vec<String>> = s
        .logs
        .iter()
        .map(|l| {
            let state = match l.state {
                LogState::Ok => "ok",
                LogState::Behind => "behind",
                LogState::Frozen => "frozen",
                LogState::Damaged => "damaged",
                LogState::Unknown => "unknown",
            };
            let receipts: Vec<_> = l
                .receipts
                .iter()
                .map(|r| {
                    format!("{} {}", r.holder, if Some(r.size) == l.size { "all".into() } else { count(Some(r.size)) })
                })
                .collect();
            vec![l.log.clone(), count(l.size), state.into(), receipts.join(", ")]
        })
        .collect();
    table(&mut out, &["LOG", "RECORDS", "STATE", "ON DISK AT"], &[1], &rows);
    if !s.children.is_empty() {
        out.push('\n');
        let rows: Vec<Vec<String>> = s
            .children
            .iter()
            .map(|c| {
                let agrees = agrees(c.agrees, c.since.as_ref());
                let seen = c.last_seen.clone().unwrap_or("never".into());
                vec![
                    c.division.to_string(),
                    c.name.clone(),
                    c.state.name().into(),
                    seen,
                    count(c.behind_records),
                    agrees,
                ]
            })
            .collect();
        table(&mut out, &["CHILD", "NAME", "STATE", "LAST HEARD", "MISSING HERE", "COPY"], &[4], &rows);
    }
    out.push('\n');
    if s.actions.is_empty() {
        out.push_str("NEEDS ATTENTION  none\n");
        return out;
    }
    out.push_str("NEEDS ATTENTION\n");
    for (i, a) in s.actions.iter().enumerate() {
        let _ = writeln!(out, "  {} [{}] {}", i + 1, a.code, a.what);
        let _ = writeln!(out, "      why:  {}", a.why);
        let _ = writeln!(out, "      next: {}", a.next);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chinese_columns_line_up() {
        let mut out = String::new();
        let rows = vec![vec!["鼓楼区".into(), "1".into()], vec!["abc".into(), "10,000".into()]];
        table(&mut out, &["NAME", "N"], &[1], &rows);
        let widths: Vec<_> = out.lines().map(UnicodeWidthStr::width).collect();
        assert_eq!(widths, [16, 16, 16], "{out}");
        assert_eq!((count(Some(1_234_567)), count(Some(999)), count(None)), {
            ("1,234,567".into(), "999".into(), "unknown".into())
        });
    }
}
