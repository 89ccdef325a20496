//! Words of the sample records: fields of each category, departments, trades, licences, violations, names, streets;
//! and the dice that draw from them.
//!
//! Laws are real and their articles fit the facts; companies and persons are put together from the lists. Blanks in
//! braces are filled in by `Draft::fill`: `{d}` is a date, `{n}` and `{m}` are numbers, `{p}` is a personal name,
//! `{a/b}` one of a and b; the others are parts of the record.

type Str = &'static str;

/// A department: its name at a county, at a city and at the province, and its short form in document numbers.
#[derive(Debug)]
pub(super) struct Dept {
    pub(super) names: [Str; 3],
    pub(super) short: Str,
}

/// A trade: how a company is called, how an individual business or cooperative is, and what they do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trade {
    pub(super) company: Str,
    pub(super) shop: Str,
    pub(super) scope: &'static [Str],
}

/// `kind` is of the catalog's list; `years` of validity, 0 = long-term.
#[derive(Debug, Clone, Copy)]
pub(super) struct Licence {
    pub(super) dept: usize,
    pub(super) document: Str,
    pub(super) kind: Str,
    pub(super) years: u32,
    pub(super) content: &'static [Str],
}

/// `kinds` are of the catalog's list, joined by `;`, with the content of the penalty; `yuan` bounds the fine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Penalty {
    pub(super) dept: usize,
    pub(super) violation: Str,
    pub(super) fact: Str,
    pub(super) basis: Str,
    pub(super) kinds: (Str, Str),
    pub(super) yuan: (u64, u64),
}

/// Trades with the licences they need and the violations they are prone to, so that a record fits its subject.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    pub(super) trades: &'static [Trade],
    pub(super) licences: &'static [Licence],
    pub(super) penalties: &'static [Penalty],
}

type Field = (Str, Str);

/// A category of the catalog.
#[derive(Debug)]
pub(super) struct Form {
    pub(super) code: Str,
    /// Its share of the records, in percent.
    pub(super) share: u64,
    /// What document numbers call the act.
    pub(super) act: Str,
    /// The fields by which its records differ.
    pub(super) fields: &'static [Field],
    /// The other fields that the catalog requires; most of them repeat the envelope.
    pub(super) more: &'static [Field],
}

/// Catalog §0. Fields that come out empty are left out of the line.
pub(super) const ENVELOPE: [Field; 15] = [
    ("category", "{category}"),
    ("catalog_version", "2026.1"),
    ("producer_name", "{unit}"),
    ("producer_uscc", "{unit_uscc}"),
    ("producer_division", "{division}"),
    ("submitter_name", "{unit}"),
    ("submitter_uscc", "{unit_uscc}"),
    ("submitter_division", "{division}"),
    ("produced_on", "{produced}"),
    ("operation", "{operation}"),
    ("subject_type", "{kind}"),
    ("subject_uscc", "{uscc}"),
    ("subject_name", "{name}"),
    ("remark", "{reason}"),
    ("source_row_id", "{row}"),
];

/// Catalog §2, §3, §4, §6, §9, §10, §11.
#[rustfmt::skip]
pub(super) const FORMS: [Form; 7] = [
    Form {
        code: "admin_license", share: 45, act: "许",
        fields: &[
            ("business_key", "{unit_uscc}|{document}|{uscc}"), ("document_no", "{document}"),
            ("license_content", "{content}"), ("license_kind", "{license_kind}"),
        ],
        more: &[
            ("party_kind", "{party_kind}"), ("party_name", "{name}"), ("party_uscc", "{uscc}"), ("legal_rep", "{person}"),
            ("document_name", "{license}"), ("decision_date", "{decided}"), ("valid_from", "{decided}"),
            ("valid_until", "{until}"), ("authority_name", "{unit}"), ("authority_uscc", "{unit_uscc}"),
            ("status", "1"), ("source_unit", "{unit}"), ("source_unit_uscc", "{unit_uscc}"),
        ],
    },
    Form {
        code: "admin_penalty", share: 20, act: "罚",
        fields: &[
            ("business_key", "{unit_uscc}|{document}|{uscc}"), ("document_no", "{document}"), ("violation_fact", "{fact}"),
            ("legal_basis", "{basis}"), ("penalty_kinds", "{penalty_kinds}"), ("fine_wan", "{fine_wan}"),
            ("confiscation_wan", "{seized_wan}"),
        ],
        more: &[
            ("party_kind", "{party_kind}"), ("party_name", "{name}"), ("party_uscc", "{uscc}"), ("legal_rep", "{person}"),
            ("violation_type", "{violation}"), ("penalty_content", "{penalty}"), ("decision_date", "{decided}"),
            ("effective_until", "2099-12-31"), ("authority_name", "{unit}"), ("authority_uscc", "{unit_uscc}"),
            ("source_unit", "{unit}"), ("source_unit_uscc", "{unit_uscc}"),
        ],
    },
    Form {
        code: "registration", share: 20, act: "登",
        fields: &[
            ("business_key", "{uscc}|{decided}"), ("legal_rep", "{person}"), ("business_scope", "{scope}"),
            ("address", "{place}{street}{n}号{building}{m}室"), ("reg_capital_wan", "{n}0.000000"),
            ("registration_status", "{1/1/1/1/1/1/1/4}"),
        ],
        more: &[
            ("uscc", "{uscc}"), ("entity_name", "{name}"), ("entity_type", "{entity_type}"), ("established_on", "{decided}"),
            ("division", "{division}"), ("registration_authority", "{division}"), ("approved_on", "{decided}"),
        ],
    },
    Form {
        code: "spot_check", share: 8, act: "检",
        fields: &[
            ("business_key", "{unit_uscc}|{document}|{uscc}"), ("task_no", "{document}"), ("check_type", "{1/1/2}"),
            ("checked_on", "{decided}"), ("check_result", "{1/1/1/1/2/4/5/5/7/8}"),
        ],
        more: &[("authority_name", "{unit}"), ("authority_uscc", "{unit_uscc}")],
    },
    Form {
        code: "abnormal_operation", share: 4, act: "异列",
        fields: &[
            ("business_key", "{uscc}|{decided}|{cause}"), ("listing_cause", "{cause}"), ("listed_on", "{decided}"),
            ("listing_document_no", "{document}"), ("removal_cause", "{removal}"), ("removed_on", "{removed}"),
        ],
        more: &[],
    },
    Form {
        code: "equity_pledge", share: 2, act: "股质登",
        fields: &[
            ("business_key", "{document}"), ("registration_no", "{document}"), ("pledgor_name", "{p}"),
            ("pledgee_name", "{bank}"), ("pledged_amount", "{m}.{000000/500000}"),
        ],
        more: &[("registered_on", "{decided}"), ("status", "1")],
    },
    Form {
        code: "serious_violation", share: 1, act: "严列",
        fields: &[
            ("business_key", "{uscc}|{decided}|{document}"), ("listing_cause", "{serious}"), ("listed_on", "{decided}"),
            ("listing_document_no", "{document}"),
        ],
        more: &[],
    },
];

const fn dept(county: Str, city: Str, province: Str, short: Str) -> Dept {
    Dept { names: [county, city, province], short }
}

const fn trade(company: Str, shop: Str, scope: &'static [Str]) -> Trade {
    Trade { company, shop, scope }
}

const fn licence(dept: usize, document: Str, kind: Str, years: u32, content: &'static [Str]) -> Licence {
    Licence { dept, document, kind, years, content }
}

const fn penalty(dept: usize, violation: Str, fact: Str, basis: Str, kinds: (Str, Str), yuan: (u64, u64)) -> Penalty {
    Penalty { dept, violation, fact, basis, kinds, yuan }
}

pub(super) const MARKET: usize = 0;
const HEALTH: usize = 1;
const EMERGENCY: usize = 2;
const HOUSING: usize = 3;
const URBAN: usize = 4;
const TRANSPORT: usize = 5;
const FARM: usize = 6;
const CULTURE: usize = 7;
const DRUG: usize = 8;
const LABOUR: usize = 9;
const SCHOOL: usize = 10;

/// Indexed by the constants above. Counties and cities have no drug administration of their own, the province has
/// no office for streets.
pub(super) const DEPTS: [Dept; 11] = [
    dept("市场监督管理局", "市场监督管理局", "市场监督管理局", "市监"),
    dept("卫生健康局", "卫生健康委员会", "卫生健康委员会", "卫健"),
    dept("应急管理局", "应急管理局", "应急管理厅", "应急"),
    dept("住房和建设局", "城乡建设局", "住房和城乡建设厅", "建"),
    dept("城市管理和综合执法局", "城市管理委员会", "住房和城乡建设厅", "城管"),
    dept("交通运输局", "交通运输局", "交通运输厅", "交"),
    dept("农业农村局", "农业农村局", "农业农村厅", "农"),
    dept("文化体育和旅游局", "文化和旅游局", "文化和旅游厅", "文旅"),
    dept("市场监督管理局", "市场监督管理局", "药品监督管理局", "药"),
    dept("人力资源和社会保障局", "人力资源和社会保障局", "人力资源和社会保障厅", "人社"),
    dept("教育局", "教育局", "教育厅", "教"),
];

const FINE: (Str, Str) = ("罚款", "罚款人民币{fine}元");
const WARN: (Str, Str) = ("警告", "警告");
const WARN_FINE: (Str, Str) = ("警告;罚款", "警告；罚款人民币{fine}元");
const FINE_SEIZE: (Str, Str) = ("罚款;没收违法所得、没收非法财物", "罚款人民币{fine}元；没收违法所得{seized}元");

/// The group of farmers' cooperatives.
pub(super) const FARMING: usize = 0;

// Two lines an entry at most, so that it reads as the table it is.
#[rustfmt::skip]
pub(super) const GROUPS: [Group; 14] = [
    Group {
        trades: &[
            trade("农业发展", "蔬菜", &["蔬菜种植", "新鲜蔬菜批发", "农产品初加工", "农业技术推广"]),
            trade("种苗", "果业", &["农作物种子经营", "水果种植", "花卉种植", "树木种植经营"]),
            trade("农资", "农机", &["农药批发", "肥料销售", "农业机械服务", "农用薄膜销售"]),
        ],
        licences: &[
            licence(FARM, "农药经营许可决定书", "普通", 5, &["农药（限制使用农药除外），仓库{n}平方米"]),
            licence(FARM, "农作物种子生产经营许可决定书", "普通", 5, &["蔬菜种子，检验室{n}平方米", "果树苗木，年产{m}株"]),
        ],
        penalties: &[
            penalty(FARM, "不执行农药采购台账、销售台账制度", "{d}检查发现有{n}笔农药销售未记入台账，涉及金额{m}元",
                "《农药管理条例》第五十八条第一项", FINE, (2_000, 20_000)),
            penalty(FARM, "销售的种子标签内容不符合规定", "{d}抽查待售蔬菜种子{n}袋，标签未标注检疫证明编号",
                "《中华人民共和国种子法》第七十九条第二项", FINE, (2_000, 20_000)),
        ],
    },
    Group {
        trades: &[trade("水产养殖", "水产", &["水产养殖", "水产品批发", "水产苗种生产", "渔业机械服务"])],
        licences: &[licence(FARM, "水域滩涂养殖许可决定书", "特许", 10, &["海水网箱养殖，{n}公顷", "池塘养殖，{n}亩"])],
        penalties: &[
            penalty(FARM, "超越养殖证许可范围从事养殖生产", "{d}巡查发现网箱超出核准海域{n}米，妨碍航运",
                "《中华人民共和国渔业法》第四十条第三款", FINE, (1_000, 10_000)),
        ],
    },
    Group {
        trades: &[
            trade("餐饮管理", "小吃店", &["餐饮服务", "餐饮管理", "外卖递送服务", "食品销售"]),
            trade("酒店管理", "大排档", &["餐饮服务", "酒店管理", "会议及展览服务", "停车场服务"]),
        ],
        licences: &[
            licence(MARKET, "食品经营许可决定书", "普通", 5,
                &["热食类食品制售，{n}平方米", "自制饮品制售，从业人员{n}人", "冷食类、糕点类食品制售，餐位{n}个"]),
            licence(HEALTH, "公共场所卫生许可决定书", "普通", 4, &["饭馆，营业面积{n}平方米", "茶座，营业面积{n}平方米"]),
        ],
        penalties: &[
            penalty(MARKET, "未按规定进行进货查验", "{d}抽查时不能提供{n}批次食品原料的供货者许可证和合格证明",
                "《中华人民共和国食品安全法》第一百二十六条第一款第三项", WARN, (0, 0)),
            penalty(MARKET, "安排未取得健康证明的人员从事接触直接入口食品的工作", "{d}后厨{n}名从业人员无健康证明，责令改正后拒不改正",
                "《中华人民共和国食品安全法》第一百二十六条第一款第六项", FINE, (5_000, 50_000)),
        ],
    },
    Group {
        trades: &[
            trade("食品贸易", "食杂店", &["食品销售", "食用农产品零售", "日用百货销售", "烟草制品零售"]),
            trade("茶业", "茶叶店", &["茶叶零售", "茶具销售", "食品互联网销售", "包装服务"]),
            trade("酒业", "酒行", &["酒类经营", "食品销售", "工艺美术品销售", "礼品花卉销售"]),
        ],
        licences: &[
            licence(MARKET, "食品经营许可决定书", "普通", 5,
                &["预包装食品（含冷藏冷冻食品）销售，仓库{n}平方米", "散装食品销售，{n}平方米", "食品批发，品种{n}个"]),
        ],
        penalties: &[
            penalty(MARKET, "经营超过保质期的食品", "{d}检查发现货架上待售的预包装食品{n}袋已超过保质期，货值{m}元",
                "《中华人民共和国食品安全法》第一百二十四条第一款第五项", FINE_SEIZE, (50_000, 100_000)),
            penalty(MARKET, "经营无标签的预包装食品", "{d}检查发现待售的预包装食品{n}盒无标签，货值{m}元",
                "《中华人民共和国食品安全法》第一百二十五条第一款第二项", FINE_SEIZE, (5_000, 50_000)),
        ],
    },
    Group {
        trades: &[
            trade("美容美发", "美容店", &["生活美容服务", "理发服务", "化妆品零售", "养生保健服务（非医疗）"]),
            trade("健身服务", "游泳馆", &["健身休闲活动", "高危险性体育运动（游泳）", "体育用品零售", "洗浴服务"]),
        ],
        licences: &[licence(HEALTH, "公共场所卫生许可决定书", "普通", 4, &["营业面积{n}平方米", "从业人员{n}人，日接待{m}人次"])],
        penalties: &[
            penalty(HEALTH, "未按规定对公共场所进行卫生检测", "{d}检查时未能出示本年度空气、用品用具卫生检测报告，涉及用品{n}件",
                "《公共场所卫生管理条例实施细则》第三十六条第一项", WARN_FINE, (500, 2_000)),
            penalty(HEALTH, "安排未获得有效健康合格证明的从业人员上岗", "{d}检查发现{n}名直接为顾客服务的人员无健康合格证明",
                "《公共场所卫生管理条例实施细则》第三十八条", WARN_FINE, (500, 5_000)),
        ],
    },
    Group {
        trades: &[
            trade("建设工程", "建材店", &["建设工程施工", "建筑劳务分包", "土石方工程施工", "建筑材料销售"]),
            trade("装饰工程", "装修服务部", &["住宅室内装饰装修", "门窗制造加工", "五金产品零售", "家具安装和维修服务"]),
            trade("园林绿化", "苗木店", &["园林绿化工程施工", "城市绿化管理", "林业产品销售", "市政设施管理"]),
        ],
        licences: &[
            licence(HOUSING, "建筑工程施工许可决定书", "普通", 0, &["厂房改造，建筑面积{m}平方米", "装修工程，合同价款{m}万元"]),
            licence(URBAN, "城市道路占用挖掘许可决定书", "普通", 1, &["占用人行道{n}平方米", "挖掘车行道{n}米，敷设给水管"]),
            licence(URBAN, "建筑垃圾处置核准决定书", "核准", 1, &["外运渣土{m}立方米，车辆{n}辆"]),
        ],
        penalties: &[
            penalty(HOUSING, "未取得施工许可证擅自施工", "{d}巡查发现装修工程未办理施工许可即开工，已完成工程量约{n}%",
                "《建筑工程施工许可管理办法》第十二条", FINE, (10_000, 30_000)),
            penalty(URBAN, "运输建筑垃圾沿途遗撒", "{d}所属渣土车未密闭运输，造成路面污染约{n}平方米",
                "《城市建筑垃圾管理规定》第二十三条", WARN_FINE, (5_000, 50_000)),
            penalty(URBAN, "擅自占用城市道路堆放物料", "{d}在人行道堆放砂石、钢管，占用面积{n}平方米",
                "《城市道路管理条例》第四十二条", FINE, (500, 20_000)),
        ],
    },
    Group {
        trades: &[trade("石油化工", "油漆店", &["危险化学品经营", "成品油批发", "润滑油销售", "化工产品销售（不含许可类）"])],
        licences: &[
            licence(EMERGENCY, "危险化学品经营许可决定书", "普通", 3, &["汽油、柴油，储罐{n}立方米", "乙醇、丙酮，不带储存经营，年{m}吨"]),
        ],
        penalties: &[
            penalty(EMERGENCY, "未在有较大危险因素的场所设置安全警示标志", "{d}检查，仓库{n}处危险部位未设置明显的安全警示标志",
                "《中华人民共和国安全生产法》第九十九条第一项", FINE, (5_000, 50_000)),
            penalty(EMERGENCY, "未如实记录安全生产教育和培训情况", "{d}核查，{n}名员工的培训档案缺考核记录，由{p}代签",
                "《中华人民共和国安全生产法》第九十七条第四项", FINE, (5_000, 100_000)),
        ],
    },
    Group {
        trades: &[
            trade("物流", "货运服务部", &["道路货物运输", "国内货物运输代理", "普通货物仓储", "装卸搬运"]),
            trade("供应链管理", "搬家服务部", &["供应链管理服务", "道路货物运输", "包装服务", "低温仓储"]),
        ],
        licences: &[
            licence(TRANSPORT, "道路货物运输经营许可决定书", "普通", 4, &["道路普通货物运输，车辆{n}辆", "集装箱运输，车辆{n}辆"]),
        ],
        penalties: &[
            penalty(TRANSPORT, "车辆违法超限运输", "{d}经检测，货车车货总质量超过限定标准{n}%，驾驶员{p}",
                "《公路安全保护条例》第六十四条", FINE, (500, 30_000)),
        ],
    },
    Group {
        trades: &[trade("网络科技", "网吧", &["互联网上网服务", "网络技术服务", "计算机及办公设备维修", "电子产品销售"])],
        licences: &[licence(CULTURE, "网络文化经营许可决定书", "普通", 3, &["上网服务，终端{n}台", "利用信息网络经营音乐作品{m}件"])],
        penalties: &[
            penalty(CULTURE, "接纳未成年人进入营业场所", "{d}晚间检查，发现{n}台终端由未成年人使用，未查验身份证件",
                "《互联网上网服务营业场所管理条例》第三十一条第二项", WARN_FINE, (1_000, 15_000)),
        ],
    },
    Group {
        trades: &[trade("旅行社", "票务代理店", &["旅游业务", "票务代理服务", "旅客票务代理", "商务代理代办服务"])],
        licences: &[licence(CULTURE, "旅行社业务经营许可决定书", "普通", 0, &["国内旅游和入境旅游，从业人员{n}人"])],
        penalties: &[
            penalty(CULTURE, "未与旅游者签订旅游合同", "{d}组织{n}人参团旅游，未签订书面合同，收取团费{m}元",
                "《旅行社条例》第五十五条第一项", FINE, (20_000, 100_000)),
        ],
    },
    Group {
        trades: &[
            trade("大药房", "药店", &["药品零售", "第二类医疗器械销售", "保健食品销售", "化妆品零售"]),
            trade("医药连锁", "中药店", &["药品零售", "中草药收购", "第三类医疗器械经营", "消毒剂销售"]),
        ],
        licences: &[
            licence(DRUG, "药品经营许可决定书", "普通", 5, &["零售处方药、甲类非处方药，{n}平方米", "零售中药饮片，品种{n}个"]),
            licence(DRUG, "医疗器械经营许可决定书", "普通", 5, &["角膜接触镜及护理用液，{n}平方米", "体外诊断试剂，冷库{n}立方米"]),
        ],
        penalties: &[
            penalty(DRUG, "未遵守药品经营质量管理规范", "{d}检查时执业药师不在岗，仍销售处方药{n}盒，温度记录缺失",
                "《中华人民共和国药品管理法》第一百二十六条", WARN, (0, 0)),
        ],
    },
    Group {
        trades: &[
            trade("商贸", "服装店", &["服装服饰零售", "鞋帽批发", "互联网销售", "针纺织品销售"]),
            trade("信息科技", "数码店", &["软件开发", "信息系统集成服务", "电子产品销售", "数据处理服务"]),
            trade("机械制造", "五金店", &["通用设备制造", "金属表面处理", "模具制造", "五金产品零售"]),
        ],
        licences: &[licence(MARKET, "特种设备使用登记决定书", "登记", 0, &["曳引驱动乘客电梯{n}台", "叉车{n}台，额定起重量3吨"])],
        penalties: &[
            penalty(MARKET, "发布使用绝对化用语的广告", "{d}在网店发布含最佳字样的商品广告{n}条，广告费{m}元",
                "《中华人民共和国广告法》第五十七条第一项", FINE, (200_000, 400_000)),
            penalty(MARKET, "经营者不明码标价", "{d}检查，店内{n}种商品未标示价格",
                "《中华人民共和国价格法》第四十二条", FINE, (200, 5_000)),
            penalty(MARKET, "使用未经定期检验的特种设备", "{d}检查发现在用叉车{n}台超过检验有效期",
                "《中华人民共和国特种设备安全法》第八十四条第一项", FINE, (30_000, 150_000)),
        ],
    },
    Group {
        trades: &[trade("人力资源", "家政服务部", &["职业中介活动", "劳务派遣服务", "家政服务", "企业管理咨询"])],
        licences: &[licence(LABOUR, "人力资源服务许可决定书", "普通", 0, &["职业中介，专职人员{n}人", "劳务派遣，专职人员{n}人"])],
        penalties: &[
            penalty(LABOUR, "未依法签订劳务派遣协议", "{d}核查，派遣{n}名劳动者未与用工单位订立协议",
                "《中华人民共和国劳动合同法》第九十二条第二款", FINE, (5_000, 10_000)),
        ],
    },
    Group {
        trades: &[trade("教育咨询", "舞蹈培训部", &["组织文化艺术交流活动", "教育咨询服务", "文具用品零售", "体育培训"])],
        licences: &[licence(SCHOOL, "民办学校办学许可决定书", "普通", 5, &["文化艺术类校外培训，教室{n}间"])],
        penalties: &[
            penalty(SCHOOL, "发布虚假招生广告", "{d}发布含虚假师资的招生广告，收取{n}名学员费用{m}元",
                "《中华人民共和国民办教育促进法》第六十二条第三项", WARN, (0, 0)),
        ],
    },
];

/// A trade name is one character of the first list and one or two of the second. All characters of these four lists
/// take three bytes.
pub(super) const NAME_FIRST: Str = "榕鼎恒盛鑫瑞华闽海金宏信嘉福佳顺东正诚博优锦新润康众和祥泰昌万永大中亿汇鸿聚凯联";
pub(super) const NAME_SECOND: Str = "源达丰泰隆兴和腾辉盈利安德茂通宇航景悦美诺凯川禾林峰晟钰铭轩创益恩庆展科程裕";
const SURNAMES: Str = "陈林黄张吴李王郑刘蔡许杨郭叶谢曾苏周江何高朱邱卢罗赖詹游翁施洪庄柯连";
const GIVEN: Str = "志明建国丽华伟强秀英文斌晓燕海峰雅婷俊杰美玲永辉淑珍国栋宇轩思颖春生";

/// Characters of the document numbers: province, then the cities 350100 to 350900.
pub(super) const SHORT: Str = "闽榕厦莆明泉漳南岩宁";

/// Streets of Gulou, and street names found in nearly every town of the province.
#[rustfmt::skip]
pub(super) const GULOU_STREETS: [Str; 12] = [
    "五四路", "湖东路", "华林路", "东街", "古田路", "杨桥东路", "八一七北路", "五一北路", "铜盘路", "软件大道", "工业路", "乌山路",
];
#[rustfmt::skip]
pub(super) const STREETS: [Str; 12] = [
    "中山路", "解放路", "建设路", "新华路", "滨江路", "人民东路", "五一路", "工业路", "朝阳路", "学府路", "江滨大道", "南门街",
];
pub(super) const BUILDINGS: [Str; 8] =
    ["世纪大厦", "商务中心", "时代广场", "创业园", "花园小区", "农贸市场", "金融大厦", "科技园"];

/// 质权人 of an equity pledge.
pub(super) const BANKS: [Str; 5] = [
    "福建海峡银行股份有限公司",
    "厦门国际银行股份有限公司",
    "泉州银行股份有限公司",
    "福建省农村信用社联合社",
    "兴业银行股份有限公司福州分行",
];

/// Causes of a listing as a serious violation (市场监管总局令第44号).
pub(super) const SERIOUS_CAUSES: [Str; 4] = [
    "提交虚假材料取得市场主体登记，被撤销登记",
    "组织策划传销，受到较重行政处罚",
    "侵犯商业秘密，受到较重行政处罚",
    "故意侵犯知识产权，受到较重行政处罚",
];

pub(super) const AMEND_REASONS: [Str; 4] = ["更正文字差错", "更正金额单位", "补充遗漏内容", "经当事人申请核实后更正"];
pub(super) const WITHDRAW_REASONS: [Str; 3] =
    ["原决定经行政复议撤销", "重复录入，予以撤销", "主体信息录错，撤销后重报"];

/// SplitMix64.
#[derive(Debug)]
pub(super) struct Rng(pub(super) u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`; 0 when `n` is 0.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }

    pub(super) fn index(&mut self, n: usize) -> usize {
        self.below(n as u64) as usize
    }

    /// The lists are constants, none of them empty.
    pub(super) fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.index(list.len())]
    }
}

/// Spreads a number, so that streams seeded with neighbours have nothing in common.
pub(super) fn mix(n: u64) -> u64 {
    Rng(n).next()
}

/// A personal name.
pub(super) fn person(rng: &mut Rng) -> String {
    let second = if rng.below(4) == 0 { "" } else { glyph(GIVEN, rng) };
    [glyph(SURNAMES, rng), glyph(GIVEN, rng), second].concat()
}

/// One character of a list whose characters all take three bytes.
pub(super) fn glyph(list: &'static str, rng: &mut Rng) -> &'static str {
    let at = 3 * rng.index(list.len() / 3);
    list.get(at..at + 3).unwrap_or_default()
}
