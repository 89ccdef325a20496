//! CSV and its relatives as old systems, Excel and WPS write them.

use super::sheet::{ALONE, CONTENT, SUBJECT, SUBJECT_CODE, Sheet, UNIT, UNIT_CODE, hand_in, unharmed};
use encoding_rs::GB18030;
use tally_tests::{COUNTY, Federation, list};

/// The one record whose field has this value.
fn held(federation: &Federation, field: &str, value: &str) -> serde_json::Value {
    let mut lines = federation.export(COUNTY, &[]);
    lines.retain(|l| l[field] == value);
    assert_eq!(lines.len(), 1, "{field} {value}");
    lines.remove(0)
}

#[test]
fn a_table_of_2015_in_gb18030_is_read() {
    let federation = Federation::running(ALONE);
    // 䶮 and 𠮷 have four bytes in GB18030.
    let sheet = Sheet::new(
        &[
            "XK_WSH",
            "XK_XMMC",
            "XK_SPLB",
            "XK_NR",
            "XK_XDR",
            "XK_XDR_SHXYM",
            "XK_XDR_ZDM",
            "XK_FR",
            "XK_JDRQ",
            "XK_JZQ",
            "XK_XZJG",
            "XK_ZT",
            "DFBM",
            "SJC",
            "BZ",
            "XK_XDR_LB",
            "XK_YXQZ",
        ],
        &[
            &[
                "榕许〔2025〕1号",
                "食品经营许可",
                "普通",
                "热食",
                "福州龚䶮𠮷餐饮有限公司",
                SUBJECT_CODE,
                "MA2TE5T1-X",
                "龚䶮",
                "2025/06/03",
                "2030/6/2",
                UNIT,
                "1",
                "350102",
                "2025/06/03 08:30:00",
                "",
                "法人及非法人组织",
                "2025/6/3",
            ],
            &[
                "榕许〔2025〕2号",
                "食品经营许可",
                "普通",
                "冷食",
                SUBJECT,
                SUBJECT_CODE,
                "",
                "陈志强",
                "2025/06/04",
                "长期",
                UNIT,
                "0",
                "350102",
                "2025/06/04 08:30:00",
                "",
                "",
                "",
            ],
        ],
    );
    let text = sheet.csv();
    let (bytes, _, lossy) = GB18030.encode(&text);
    assert!(!lossy);
    let handed = hand_in(&federation, "许可2015.csv", &bytes, &["--unit", UNIT_CODE]);
    assert_eq!(handed.counts(), [2, 2, 0, 0], "{handed:?}");
    assert!(handed.answer["formats"][0].as_str().unwrap().contains("GB18030"), "{handed:?}");
    // What a table of 2015 has no column for is filled in as the catalog says, and told.
    let mut filled: Vec<_> = list(&handed.answer["notes"])
        .iter()
        .filter(|n| n["code"] == "filled_in")
        .map(|n| n["field"].as_str().unwrap())
        .collect();
    filled.sort_unstable();
    assert_eq!(filled, ["party_kind", "valid_from"], "{handed:?}");
    let record = held(&federation, "document_no", "榕许〔2025〕2号");
    assert!(record["party_kind"] == "法人及非法人组织" && record["valid_from"] == "2025-06-04", "{record}");
    let record = held(&federation, "document_no", "榕许〔2025〕1号");
    assert!(record["party_name"] == "福州龚䶮𠮷餐饮有限公司" && record["legal_rep"] == "龚䶮", "{record}");
    assert!(record["decision_date"] == "2025-06-03" && record["valid_until"] == "2030-06-02", "{record}");
    assert!(record["producer_uscc"] == UNIT_CODE && record["producer_division"] == COUNTY, "{record}");

    let sheet = Sheet::new(
        &[
            "CF_WSH",
            "CF_CFMC",
            "CF_CFLB1",
            "CF_SY",
            "CF_YJ",
            "CF_XDR_MC",
            "CF_XDR_SHXYM",
            "CF_FR",
            "CF_FRDB",
            "CF_JG",
            "CF_JDRQ",
            "CF_XZJG",
            "CF_ZT",
            "DFBM",
            "SJC",
            "BZ",
            "CF_XDR_LB",
            "CF_WFXW",
            "CF_YXQ",
            "CF_NR_FK",
        ],
        &[&[
            "榕罚〔2025〕1号",
            "未亮证经营案",
            "警告、罚款",
            "未亮证",
            "《条例》第三条，第1款",
            SUBJECT,
            SUBJECT_CODE,
            "",
            "陈志强",
            "警告，罚款壹仟元",
            "2025/06/03",
            UNIT,
            "0",
            "350102",
            "2025/06/03",
            "",
            "法人",
            "未亮证经营",
            "永久",
            "0.1万元",
        ]],
    );
    let text = sheet.text(',', "\r");
    let (bytes, _, _) = GB18030.encode(&text);
    let handed = hand_in(&federation, "处罚2015.CSV", &bytes, &["--unit", UNIT_CODE]);
    handed.all_taken(1);
    let record = held(&federation, "document_no", "榕罚〔2025〕1号");
    assert!(record["category"] == "admin_penalty" && record["fine_wan"] == "0.1", "{record}");
    assert!(record["effective_until"] == "2099-12-31" && record["party_kind"] == "法人及非法人组织", "{record}");
    unharmed(&federation);
}

#[test]
fn columns_of_the_publicity_system_are_known() {
    let federation = Federation::running(ALONE);
    let base = Sheet::new(
        &[
            "PRIPID",
            "UNISCID",
            "REGNO",
            "ENTNAME",
            "ENTTYPE",
            "NAME",
            "REGCAP",
            "ESTDATE",
            "APPRDATE",
            "REGSTATE",
            "DOM",
            "DOMDISTRICT",
            "REGORG",
            "REGSTATE_CN",
            "S_EXT_SEQUENCE",
        ],
        &[&[
            "3501020001",
            SUBJECT_CODE,
            "350100100000017",
            SUBJECT,
            "1130",
            "陈志强",
            "1,200.50",
            "2020-01-02 00:00:00.0",
            "20250603",
            "K",
            "福州市鼓楼区１号",
            "350102",
            "350102",
            "存续",
            "350102202506030001",
        ]],
    );
    let handed = hand_in(&federation, "E_BASEINFO.csv", base.csv().as_bytes(), &["--unit", UNIT_CODE]);
    assert_eq!(handed.counts()[3], 1, "the unit's name is not in the table, and no registry knows it: {handed:?}");
    let named = base.with(0, "产生单位", UNIT);
    hand_in(&federation, "E_BASEINFO.csv", named.csv().as_bytes(), &["--unit", UNIT_CODE]).all_taken(1);
    let record = held(&federation, "category", "registration");
    assert!(record["reg_capital_wan"] == "1200.50" && record["established_on"] == "2020-01-02", "{record}");
    assert!(record["registration_status"] == "1" && record["subject_name"] == SUBJECT, "{record}");

    let permits = Sheet::new(
        &[
            "LICNO",
            "LICNAME",
            "VALFROM",
            "VALTO",
            "LICANTH",
            "LICITEM",
            "TYPE",
            "UNISCID",
            "ENTNAME",
            "许可决定日期",
            "相对人类别",
            "负责人",
            "许可类型",
        ],
        &[&[
            "JY13501020001",
            "食品经营许可证",
            "2025.6.3",
            "2030年6月2日",
            UNIT,
            "热食",
            "有效",
            SUBJECT_CODE,
            SUBJECT,
            "2025-6-3",
            "法人",
            "陈志强",
            "普通许可",
        ]],
    );
    hand_in(&federation, "E_OT_PERMIT.csv", permits.csv().as_bytes(), &["--unit", UNIT_CODE]).all_taken(1);

    // The tables as that system has them: what they have no column for is asked about.
    let permits = "LICID,PRIPID,ENTNAME,REGNO,UNISCID,LICNO,LICNAME_CN,VALFROM,VALTO,LICANTH,LICITEM,TYPE,PUBLICDATE\n";
    let row =
        format!("1,3501020001,{SUBJECT},,{SUBJECT_CODE},JY2,许可证,2025-06-03,2030-06-02,{UNIT},热食,1,2025-06-05\n");
    let permits =
        hand_in(&federation, "E_OT_PERMIT.csv", (permits.to_owned() + &row).as_bytes(), &["--unit", UNIT_CODE]);
    let cases = "CASEID,PRIPID,REGNO,UNISCID,ENTNAME,PENDECNO,ILLEGACTTYPE,PENTYPE,PENTYPE_CN,PENAM,FORFAM,PENCONTENT,\
                 JUDAUTH,PENDECISSDATE,REMARK,PUBLICDATE,DATADEPT\n";
    let row = format!(
        "7,3501020001,,{SUBJECT_CODE},{SUBJECT},榕鼓罚〔2025〕7号,无照经营,02,罚款,0.5,,罚款五千元,{UNIT},2025-06-03,,\
         2025-06-05,{UNIT}\n"
    );
    let cases = hand_in(&federation, "E_OT_CASE.csv", (cases.to_owned() + &row).as_bytes(), &["--unit", UNIT_CODE]);
    for handed in [permits, cases] {
        assert_eq!((handed.counts(), &handed.answer["questions"]), ([1, 1, 0, 0], &1.into()), "{handed:?}");
        assert!(handed.codes(2).iter().all(|c| *c == "V001"), "{handed:?}");
    }
    unharmed(&federation);
}

#[test]
fn every_delimiter_encoding_and_line_end_gives_the_same_records() {
    let federation = Federation::running(ALONE);
    let text = "第一行，含\"引号\"\n第二行;\t,|";
    let mut sheet = Sheet::licenses(0..3).with(1, CONTENT, text);
    hand_in(&federation, "a.csv", sheet.csv().as_bytes(), &[]).all_taken(3);
    let utf16 = |text: &str, to: fn(u16) -> [u8; 2]| -> Vec<u8> {
        [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(to).collect()
    };
    let lines: Vec<_> = sheet.text(',', "\u{0}").split('\0').map(str::to_owned).collect();
    let mixed = [
        lines[0].clone(),
        "\r\n".into(),
        lines[1].clone(),
        "\r".into(),
        lines[2].clone(),
        "\n\n".into(),
        lines[3].clone(),
    ];
    let coded = sheet.clone().coded();
    for (name, bytes) in [
        ("a.tsv", sheet.text('\t', "\n").into_bytes()),
        ("a.txt", sheet.text(';', "\r\n").into_bytes()),
        ("b.csv", sheet.text('|', "\r").into_bytes()),
        ("c.csv", ["\u{feff}".as_bytes(), sheet.csv().as_bytes()].concat()),
        ("d.txt", utf16(&sheet.text('\t', "\r\n"), u16::to_le_bytes)),
        ("e.csv", utf16(&sheet.csv(), u16::to_be_bytes)),
        ("f.csv", mixed.concat().into_bytes()),
        ("g.csv", coded.csv().into_bytes()),
        ("h.csv", GB18030.encode(&sheet.csv()).0.into_owned()),
    ] {
        let handed = hand_in(&federation, name, &bytes, &[]);
        assert_eq!((handed.ran.code, handed.counts()), (0, [3, 0, 3, 0]), "{name}: {handed:?}");
    }
    // The columns in another order, with stars and remarks, and one that nobody knows.
    sheet.heads.iter_mut().for_each(|h| *h = format!(" *{h}(必填) "));
    sheet.heads.iter_mut().for_each(|h| *h = h.replace("（统一社会信用代码）", ""));
    sheet.heads.push("经办科室".into());
    for row in std::iter::once(&mut sheet.heads).chain(&mut sheet.rows) {
        row.resize(17, "许可科".into());
        row.reverse();
    }
    let handed = hand_in(&federation, "i.csv", sheet.csv().as_bytes(), &[]);
    assert_eq!(handed.counts(), [3, 0, 3, 0], "{handed:?}");
    assert!(handed.notes().contains(&"unknown_column"), "{handed:?}");
    let record = held(&federation, "license_content", text);
    assert_eq!(record["document_no"], "榕鼓许〔2025〕1号");
    unharmed(&federation);
}

#[test]
fn a_row_that_does_not_end_costs_what_comes_after_it_and_says_so() {
    let federation = Federation::running(ALONE);
    let sheet = Sheet::licenses(0..6);
    let open = sheet.csv().replacen("榕鼓许〔2025〕3号", "\"榕鼓许〔2025〕3号", 1);
    let handed = hand_in(&federation, "open.csv", open.as_bytes(), &[]);
    assert_eq!((handed.counts(), handed.codes(5)), ([4, 3, 0, 1], vec!["F003"]), "{handed:?}");
    // Of the three that were lost nothing was said to be taken: the mended file brings them.
    let handed = hand_in(&federation, "mended.csv", sheet.csv().as_bytes(), &[]);
    assert_eq!(handed.counts(), [6, 3, 3, 0], "{handed:?}");
    unharmed(&federation);
}

#[test]
fn rows_of_3000_cells_are_taken_or_named() {
    let federation = Federation::running(ALONE);
    // A spreadsheet writes as many delimiters as it has formatted columns.
    let sheet = Sheet::licenses(0..3);
    let formatted = sheet.csv().replace("\r\n", &format!("{}\r\n", ",".repeat(3_000)));
    hand_in(&federation, "formatted.csv", formatted.as_bytes(), &[]).all_taken(3);
    let mut wide = Sheet::licenses(10..13);
    wide.rows[1].extend((0..3_000).map(|i| i.to_string()));
    let handed = hand_in(&federation, "wide.csv", wide.csv().as_bytes(), &[]);
    assert_eq!(handed.counts(), [3, 3, 0, 0], "{handed:?}");
    assert!(handed.notes().contains(&"beyond_heads"), "{handed:?}");
    let mut wider = Sheet::licenses(20..23);
    wider.rows[1].extend((0..40_000).map(|i| i.to_string()));
    let handed = hand_in(&federation, "wider.csv", wider.csv().as_bytes(), &[]);
    assert_eq!((handed.counts(), handed.codes(3)), ([2, 1, 0, 1], vec!["F003"]), "{handed:?}");
    unharmed(&federation);
}
