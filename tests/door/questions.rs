//! Questions about records: what the nodes above find travels down to where the record entered.

use serde_json::Value;
use tally_tests::{
    CITY, COUNTY, Federation, LINE, PROVINCE, list, origin,
    sample::{record, version},
    seconds, wait_for,
};

const ALL: [&str; 3] = [PROVINCE, CITY, COUNTY];

/// Questions that a node shows.
pub(crate) fn questions(federation: &Federation, at: &str) -> Vec<Value> {
    let asked = federation.ask(at, &["question", "ls", "--json"]);
    assert!([0, 3].contains(&asked.code), "{asked:?}");
    list(&asked.json()["questions"]).to_vec()
}

fn by(question: &Value) -> Vec<(String, String)> {
    let of = |j: &Value| {
        let division = j["division"].as_str().unwrap().to_owned();
        list(&j["findings"])
            .iter()
            .map(move |f| {
                let code = f["name"].as_str().or(f["code"].as_str()).unwrap().to_owned();
                (division.clone(), code)
            })
            .collect::<Vec<_>>()
    };
    list(&question["judged_by"]).iter().flat_map(of).collect()
}

#[test]
fn what_the_nodes_above_find_is_shown_where_the_record_entered() {
    let federation = Federation::running(LINE);
    federation.enter(COUNTY, 0..3);
    // The same record by two paths, and one that the city takes although it belongs to the county.
    for n in [1, 7] {
        let (code, answer) = federation.ingest(CITY, &record(n, COUNTY));
        assert_eq!((code, &answer["questions"]), (0, &1.into()), "{answer}");
    }
    federation.wait_converged(&ALL, seconds(60));
    let at_city = wait_for("the province's verdicts are at the city", seconds(60), || {
        let questions = questions(&federation, CITY);
        let from_above = |q: &Value| by(q).iter().any(|(d, code)| d == PROVINCE && code == "V017");
        (questions.iter().filter(|q| q["log"] == origin(CITY).as_str() && from_above(q)).count() == 2)
            .then_some(questions)
    });
    assert!(at_city.iter().any(|q| by(q).contains(&(CITY.into(), "DOUBLE_PATH".into()))), "{at_city:?}");
    let both = version(2, COUNTY, "create", "5");
    let (code, answer) = federation.ingest(COUNTY, &both);
    assert_eq!((code, &answer["accepted"], &answer["questions"]), (0, &1.into(), &1.into()), "{answer}");
    assert_eq!(answer["errors"][0]["code"], "V013");
    let open = wait_for("every level asks about the conflict", seconds(60), || {
        let questions = questions(&federation, COUNTY);
        let about = questions.iter().find(|q| by(q).contains(&(PROVINCE.into(), "V013".into())))?.clone();
        by(&about).contains(&(CITY.into(), "V013".into())).then_some(about)
    });
    assert_eq!(open["log"], origin(COUNTY));
    let (code, answer) = federation.ingest(COUNTY, &version(2, COUNTY, "amend", "7"));
    assert_eq!((code, &answer["accepted"]), (0, &1.into()), "{answer}");
    wait_for("the amendment answers it", seconds(30), || {
        (!questions(&federation, COUNTY).iter().any(|q| q["id"] == open["id"])).then_some(())
    });
    let (code, answer) = federation.ingest(COUNTY, &version(99, COUNTY, "withdraw", "1"));
    assert_eq!((code, &answer["errors"][0]["code"]), (3, &"V014".into()), "{answer}");
}
