//! The deadline report of running nodes: the same records are late and in time at every level.

use calamine::{Data, Reader as _, Xlsx, open_workbook};
use serde_json::{Value, json};
use std::fs;
use tally_tests::{
    CITY, COUNTY, Federation, LINE, PROVINCE, Ran, find, free_port,
    http::{Body, request},
    list, run,
    sample::{record, records},
    seconds, wait_for,
};

const UNIT: &str = "113501020036012589";
const CITY_UNIT: &str = "113501000036012587";
const TAX: &str = "12100000100000008K";
const ALL: [&str; 3] = [COUNTY, CITY, PROVINCE];

fn china() -> jiff::civil::DateTime {
    jiff::tz::Offset::constant(8).to_datetime(jiff::Timestamp::now())
}

/// A federation whose charter has units and routes.
fn federation() -> Federation {
    let federation = Federation::new(LINE);
    let (text, note) = (federation.at("charter.toml"), federation.at("with-units.note"));
    let unit = |code: &str, name: &str, categories: &str| {
        format!(
            "\n[[unit]]\ncode = \"{code}\"\nname = \"{name}\"\ndivision = \"{COUNTY}\"\nkind = \"county_dept\"\n\
             categories = [{categories}]\n"
        )
    };
    let more = [
        unit(UNIT, "福州市鼓楼区市场监督管理局", "\"spot_check\", \"admin_license\", \"admin_penalty\""),
        unit(TAX, "国家税务总局福州市鼓楼区税务局", "\"admin_penalty\""),
        "\n[[route]]\nid = \"tax\"\ncase = \"central\"\nunit_word = \"税务局\"\ncategory = \"admin_penalty\"\nowner = \"省税务局办公室\"\n\
         due_on = \"2099-12-31\"\n"
            .to_owned(),
    ];
    let charter = fs::read_to_string(&text).unwrap() + &more.concat();
    fs::write(&text, charter).unwrap();
    run(&["charter", "sign", &text, "--key", &federation.at("authority.key"), "-o", &note]).done();
    ALL.iter().for_each(|d| federation.install(d, &note));
    federation
}

fn report(federation: &Federation, division: &str, args: &[&str]) -> Value {
    let ran = federation.ask(division, &[&["deadline", "report", "--json"], args].concat());
    let report = ran.json();
    let expected = if list(&report["warnings"]).is_empty() { 0 } else { 3 };
    assert_eq!(ran.code, expected, "{ran:?}");
    report
}

/// What every level must say alike of a row.
fn counted(row: &Value) -> Value {
    let fields = ["division", "unit", "category", "records", "on_time", "late", "due_soon", "overdue", "pending"];
    let mut counted: Value = fields.iter().map(|f| ((*f).to_owned(), row[*f].clone())).collect();
    counted["more"] = json!([row["on_time_rate"], row["held_up_by"], row["certain"], row["unconfirmed"]]);
    counted
}

fn of_records(report: &Value) -> Vec<Value> {
    list(&report["rows"]).iter().filter(|r| r["kind"] == "records").map(counted).collect()
}

fn kinds(report: &Value) -> Vec<(String, String, String)> {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    list(&report["rows"]).iter().map(|r| (text(&r["kind"]), text(&r["unit"]), text(&r["category"]))).collect()
}

#[test]
fn late_and_in_time_are_the_same_at_every_level() {
    let federation = federation();
    ALL.iter().for_each(|d| federation.spawn(d));
    ALL.iter().for_each(|d| federation.ready(d));
    let today = china().date();
    let explained = federation.ask(COUNTY, &["deadline", "explain", "--produced-on", &today.to_string(), "--json"]);
    let due = explained.json()["collect_due"].as_str().unwrap()[..7].to_owned();
    federation.enter(COUNTY, 0..40);
    let new = records(40..65, COUNTY).replace("2025-06-03", &today.to_string());
    assert_eq!(federation.ingest(COUNTY, &new).1["accepted"], 25);
    // By a unit that is in no registry.
    let city = records(0..3, CITY).replace(UNIT, CITY_UNIT);
    assert_eq!(federation.ingest(CITY, &city).1["accepted"], 3);
    federation.wait_converged(&ALL, seconds(60));
    // The record produced on 2025-06-03 was due on 2025-06-12.
    for (month, state, n) in [("2025-06", "late", 40), (due.as_str(), "on_time", 25)] {
        let args = ["--month", month, "--division", COUNTY];
        let own = |at: &str| {
            let report = report(&federation, at, &args);
            let rows = of_records(&report);
            assert!(report["month"] == month && report["node"] == at && rows.len() == 1, "{report}");
            rows[0].clone()
        };
        let province = wait_for("the province has its own receipt", seconds(60), || {
            let row = own(PROVINCE);
            (row[state] == n).then_some(row)
        });
        for at in [COUNTY, CITY] {
            wait_for("receipts have come down", seconds(60), || (own(at)[state] == n).then_some(()));
            let (mut here, mut there) = (own(at), province.clone());
            here["more"][3] = Value::Null;
            there["more"][3] = Value::Null;
            assert_eq!(here, there, "{at}");
        }
        assert_eq!((&province["records"], &province["more"][3]), (&json!(n), &json!(0)), "{province}");
        let late = if state == "late" { n } else { 0 };
        assert_eq!(province["more"][1], json!({"unit": late, "county": 0, "city": 0}), "handed in years later");
    }
    let all = report(&federation, PROVINCE, &["--month", "2025-06", "--by", "division"]);
    let total = |division: &str, scope: &str| {
        let rows = list(&all["rows"]).iter();
        rows.clone().find(|r| r["division"] == division && r["scope"] == scope).map(|r| r["late"].as_u64().unwrap())
    };
    assert_eq!((total(COUNTY, "own"), total(CITY, "own"), total(CITY, "with_below")), (Some(40), Some(3), Some(43)));
    assert_eq!((total(PROVINCE, "with_below"), all["total"]["late"].as_u64()), (Some(43), Some(43)));
}

/// The month before that of a day, and its first and last day.
fn month_before(day: jiff::civil::Date) -> (String, String, String) {
    let last = day.first_of_month().yesterday().unwrap();
    (last.to_string()[..7].to_owned(), last.first_of_month().to_string(), last.to_string())
}

#[test]
fn declarations_are_no_gaps_and_all_forms_agree() {
    let federation = federation();
    let port = free_port();
    let tokens: Vec<Ran> = ["all", "unit"].iter().map(|n| run(&["keygen", "--token", n])).collect();
    let secret = |n: usize| tokens[n].err.trim().rsplit(' ').next().unwrap().to_owned();
    let (open, limited) = (tokens[0].out.clone(), tokens[1].out.clone());
    federation.configure(COUNTY, &format!("http = \"127.0.0.1:{port}\"\n{open}{limited}unit = \"{UNIT}\"\n"));
    ALL.iter().for_each(|d| federation.spawn(d));
    ALL.iter().for_each(|d| federation.ready(d));
    let (month, from, until) = month_before(china().date());
    let zero = json!({"category": "zero_report", "producer_uscc": UNIT, "reported_category": "admin_license",
        "period_from": from, "period_until": until});
    let task = json!({"category": "liaison", "producer_uscc": TAX, "reported_category": "admin_penalty",
        "owner": "林伟", "due_on": "2099-12-31", "state": "open", "produced_on": until});
    let old = record(1, COUNTY).replace("2025-06-03", &from);
    let (code, answer) = federation.ingest(COUNTY, &format!("{zero}\n{task}\n{old}\n"));
    assert_eq!((code, &answer["accepted"]), (0, &json!(3)), "{answer}");
    federation.wait_converged(&ALL, seconds(60));
    let line = |kind: &str, unit: &str, category: &str| (kind.to_owned(), unit.to_owned(), category.to_owned());
    let mut expected = vec![
        line("zero_report", UNIT, "admin_license"),
        line("missing", UNIT, "admin_penalty"),
        line("liaison", TAX, "admin_penalty"),
    ];
    for at in ALL {
        let report = wait_for("receipts have come down", seconds(60), || {
            let report = report(&federation, at, &["--month", &month]);
            (report["total"]["overdue"] == 0 && report["total"]["pending"] == 0).then_some(report)
        });
        let mut found = kinds(&report);
        // Produced on the first: its limit may end in that month or in the next.
        found.retain(|(kind, ..)| kind != "records");
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{at}: {report}");
        let liaison = find(&report["rows"], "kind", "liaison");
        assert_eq!(
            (&liaison["liaison"]["owner"], &liaison["liaison"]["state"]),
            (&json!("林伟"), &json!("open")),
            "the record of the task is newer than the rule"
        );
        assert_eq!((&liaison["liaison"]["due_on"], &report["total"]["missing"]), (&json!("2099-12-31"), &json!(1)));
        assert!(report["month_over"] == true && report["total"]["liaisons_open"] == 1, "{report}");
    }

    let ask = |more: &[&str]| federation.ask(COUNTY, &[&["deadline", "report", "--month", &month], more].concat());
    let document = report(&federation, COUNTY, &["--month", &month]);
    let text = ask(&["--csv"]).out;
    let rows = parsed(text.strip_prefix('\u{feff}').expect("a mark for Excel"));
    let file = federation.at("report.xlsx");
    ask(&["--xlsx", "-o", &file]);
    assert_eq!(workbook(&file, &rows), rows);
    assert_eq!(rows.len(), list(&document["rows"]).len() + 2, "head, lines, total");
    let at = |head: &str| rows[0].iter().position(|h| h == head).unwrap();
    for (row, line) in rows[1..].iter().zip(list(&document["rows"]).iter().chain([&document["total"]])) {
        for (head, field) in [("应报条数", "records"), ("迟报", "late"), ("单位代码", "unit"), ("漏报项数", "missing")]
        {
            let shown = line[field].as_str().map_or_else(|| line[field].to_string(), str::to_owned);
            assert_eq!(row[at(head)], shown.replace("null", ""), "{head} of {line}");
        }
    }
    let screen = ask(&[]).out;
    assert!(screen.starts_with("DEADLINES  350102") && screen.contains("林伟"), "{screen}");

    let path = format!("/v1/deadlines?month={month}");
    let get = |path: &str, token: Option<&str>| request(port, "GET", path, token, &Body::None);
    let served = get(&path, Some(&secret(0)));
    assert_eq!((served.status, &served.json()["rows"]), (200, &document["rows"]));
    assert!(get(&format!("{path}&format=csv"), Some(&secret(0))).is("text/csv"));
    assert_eq!((get(&path, Some(&secret(1))).status, get(&path, None).status), (403, 401));
    assert_eq!(get("/v1/deadlines?month=2026-13", Some(&secret(0))).status, 400);
    assert_eq!((ask(&["--division", "110101"]).code, ask(&["--xlsx"]).code, ask(&["--by", "x"]).code), (2, 2, 2));
}

#[test]
fn a_deadline_is_explained_and_the_end_of_the_calendar_told() {
    let federation = Federation::running(&LINE[..1]);
    let explain = |args: &[&str]| federation.ask(PROVINCE, &[&["deadline", "explain", "--produced-on"], args].concat());
    let e = explain(&["2026-09-18", "--category", "admin_license", "--json"]).json();
    assert_eq!((&e["collect_due"], &e["publish_due"]), (&json!("2026-09-29"), &json!("2026-10-22")));
    assert!(e["collect_certain"] == true && e["publish_certain"] == true, "{e}");
    assert_eq!(find(&e["days"], "day", "2026-09-20")["kind"], "makeup");
    let text = explain(&["2026-09-18"]);
    assert!(text.code == 0 && text.out.contains("collect by  2026-09-29"), "{text:?}");
    let far = explain(&["2090-12-29"]);
    assert!(far.code == 3 && far.out.contains("NOT CERTAIN") && far.out.contains("2090, 2091"), "{far:?}");
    assert_eq!((explain(&["2026-09-31"]).code, explain(&["2026-09-18", "--category", "weather"]).code), (2, 2));

    let note = federation.charter_with(
        2,
        "authority.key",
        "[calendar]\nyears = [2016]\nholidays = [\"2016-01-01 元旦\"]\nmakeups = []\n",
    );
    federation.ask(PROVINCE, &["charter", "load", &note]).done();
    let status = federation.status(PROVINCE);
    let told = find(&status["actions"], "code", "calendar_ends");
    assert!(told["why"].as_str().is_some_and(|w| w.contains("2016-12-31")), "{status}");
    assert_eq!(report(&federation, PROVINCE, &[])["calendar_until"], "2016-12-31");
}

/// Rows of a CSV, trimmed: spaces keep formulas from being calculated.
fn parsed(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell).trim().to_owned()),
            '\n' if !quoted => {
                row.push(std::mem::take(&mut cell).trim().to_owned());
                rows.push(std::mem::take(&mut row));
            }
            c => cell.push(c),
        }
    }
    rows
}

fn workbook(path: &str, wanted: &[Vec<String>]) -> Vec<Vec<String>> {
    let mut book: Xlsx<_> = open_workbook(path).unwrap();
    let sheet = book.worksheet_range(&book.sheet_names()[0].clone()).unwrap();
    let cell = |c: &Data, wanted: &str| match c {
        Data::String(text) => text.trim().to_owned(),
        Data::Float(n) => number(*n, wanted),
        Data::Int(n) => number(*n as f64, wanted),
        Data::DateTime(day) => number(day.as_f64(), wanted),
        _ => String::new(),
    };
    let row = |(n, cells): (usize, &[Data])| {
        let wanted = |i: usize| wanted.get(n).and_then(|w| w.get(i)).map_or("", String::as_str);
        cells.iter().enumerate().map(|(i, c)| cell(c, wanted(i))).collect()
    };
    sheet.rows().enumerate().map(row).collect()
}

/// The text that a number of a workbook is to be, if it is that number, share or day.
fn number(n: f64, wanted: &str) -> String {
    let share = wanted.strip_suffix('%').and_then(|t| t.parse::<f64>().ok()).map(|p| p / 100.0);
    let day = wanted.parse::<jiff::civil::Date>().ok().map(|d| {
        let days = jiff::civil::date(1899, 12, 30).until(d).unwrap().get_days();
        f64::from(days)
    });
    let is = share.or(day).or(wanted.parse().ok()).is_some_and(|w| (w - n).abs() < 1e-6);
    if is { wanted.to_owned() } else { n.to_string() }
}
