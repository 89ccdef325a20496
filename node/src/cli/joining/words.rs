//! What is said to people about joining. Each fault has a code that stays, says what is wrong and what to do, in English and Chinese.

use super::super::{Exit, Failure};
use tally_clock::time;
use tally_link::{CallFailure, Unreached};
use tally_protocol::{ids::Division, join::JoinRefusal};

/// A fault of joining: its code, an exit code, and what is said of it.
fn fault(code: &str, exit: Exit, en: &str, zh: &str) -> Failure {
    Failure::new(exit, format!("{code}: {en}\n  {zh}"))
}

/// E1100: what was given is no invitation.
pub(super) fn no_invitation(why: &str) -> Failure {
    let zh = "不是有效的加入令牌：请把整行重新复制，或请上级重新生成";
    fault("E1100", Exit::Usage, why, zh)
}

/// E1103: somebody else answers.
pub(super) fn other_key(address: &str) -> Failure {
    let en = format!(
        "the key at {address} is not the one of the parent that the invitation names: this is another server, or somebody stands \
         in the middle. Nothing was sent to it. Ask whoever invited you for the address; it is not tried again"
    );
    let zh = format!("{address} 的公钥与令牌不符，可能连错服务器或存在中间人；未发送任何内容，请与上级核对地址");
    fault("E1103", Exit::NotAdmitted, &en, &zh)
}

/// E1105: this machine's clock is off by so many milliseconds against the parent's, which says `there`.
pub(super) fn clock_off(skew_ms: i64, here_ms: u64, there_ms: u64) -> Failure {
    let (here, there) = (time(here_ms / 1_000), time(there_ms / 1_000));
    let seconds = skew_ms.unsigned_abs() / 1_000;
    let (direction, direction_zh) = if skew_ms > 0 { ("ahead of", "快") } else { ("behind", "慢") };
    let en = format!(
        "this machine's clock is {} {direction} the parent's (here {here}, there {there}; 30 s are allowed): set it (chronyc makestep), \
         and say `tally join` again",
        in_words(seconds)
    );
    let zh =
        format!("本机时钟{direction_zh} {seconds} 秒，超过 30 秒，请校时 (chronyc makestep) 后再次执行 tally join");
    fault("E1105", Exit::Failed, &en, &zh)
}

fn in_words(seconds: u64) -> String {
    match seconds {
        s if s >= 86_400 => format!("{} d {} h", s / 86_400, s % 86_400 / 3_600),
        s if s >= 3_600 => format!("{} h {} min", s / 3_600, s % 3_600 / 60),
        s if s >= 60 => format!("{} min {} s", s / 60, s % 60),
        s => format!("{s} s"),
    }
}

/// E1108: the request was rejected.
pub(super) fn rejected(by: Division, reason: &str) -> Failure {
    let en = format!("{by} has rejected the request: {reason}. Another try needs a new invitation");
    let zh = format!("{by} 已拒绝申请：{reason}。如需再次申请，请上级重新生成令牌");
    fault("E1108", Exit::NotAdmitted, &en, &zh)
}

/// E1111: an invitation of one division in the folder, or by the word, of another one.
pub(super) fn other_division(invited: Division, here: Division) -> Failure {
    let en = format!(
        "the invitation is for division {invited}, and here is {here}: each division has an invitation of its own"
    );
    let zh = format!("令牌属于区划 {invited}，此处为 {here}：每个区划使用各自的令牌");
    fault("E1111", Exit::NotAdmitted, &en, &zh)
}

/// E1116: the parent has forgotten what it had answered, or somebody else speaks for it.
pub(super) fn other_answer(parent: Division) -> Failure {
    let en = format!(
        "{parent} does not know this request any more: ask for a new invitation, and say `tally join` with it in the same --dir"
    );
    let zh = format!("{parent} 已无此申请的记录：请上级重新生成令牌，并在同一目录再次执行 tally join");
    fault("E1116", Exit::NotAdmitted, &en, &zh)
}

/// E1115: the charter that came is not the authority's whom the invitation names.
pub(super) fn other_charter(why: &str) -> Failure {
    let en = format!("the charter that came cannot be taken: {why}. Ask whoever invited you for a new invitation");
    let zh = format!("收到的章程不可用：{why}；请上级重新生成令牌");
    fault("E1115", Exit::NotAdmitted, &en, &zh)
}

/// What the parent says of a request that it does not take.
pub(super) fn refused(code: JoinRefusal, reason: &str, parent: Division) -> Failure {
    let (name, zh, next) = match code {
        JoinRefusal::Expired => ("E1101", "令牌已过期，请上级重新生成", "ask for a new one: tally node invite"),
        JoinRefusal::Used => (
            "E1102",
            "令牌已被使用，请上级重新生成；如不是本单位所用，请立即告知上级",
            "ask for a new one; if that was not you, tell whoever invited you",
        ),
        JoinRefusal::Taken => (
            "E1106",
            "该区划已有节点在用（密钥不同）；更换机器请由上级执行 tally node replace",
            "another machine takes a node's place by an invitation of its own: tally node replace",
        ),
        JoinRefusal::OtherParent => ("E1114", "令牌不是为该上级签发的，请上级重新生成", "ask for a new invitation"),
        JoinRefusal::OtherDivision => ("E1111", "令牌属于其他区划", "each division has an invitation of its own"),
        JoinRefusal::Invite => ("E1113", "上级不认可该令牌的签名，请重新生成", "ask for a new invitation"),
        JoinRefusal::NotCommitted | JoinRefusal::Request => (
            "E1116",
            "申请与先前所报不一致，已被拒绝",
            "say `tally join` again with a new invitation and another --dir",
        ),
        JoinRefusal::Busy => ("E1112", "上级暂时无法受理，请稍后再试", "it is worth another try later"),
        JoinRefusal::Protocol | JoinRefusal::NoCharter => {
            ("E1117", "两端程序版本不一致，请升级", "one of the two programs is much older: update it")
        }
    };
    let exit = if code == JoinRefusal::Busy { Exit::Unreachable } else { Exit::NotAdmitted };
    fault(name, exit, &format!("{parent} does not take it: {reason}; {next}"), zh)
}

/// E1104 and E1103: why nobody could be reached. `tcp` says of each address whether the machine answers there on TCP.
pub(super) fn unreached(failed: &[Unreached], tcp: &[Option<bool>]) -> Failure {
    if let Some(other) = failed.iter().find(|f| matches!(f.why, CallFailure::WrongNode(_))) {
        return other_key(&other.address);
    }
    let (mut en, mut zh) = (Vec::new(), Vec::new());
    for (one, tcp) in failed.iter().zip(tcp) {
        let address = &one.address;
        let (said, said_zh) = match (&one.why, tcp) {
            (CallFailure::NoAnswer(..), Some(true)) => (
                "no answer on UDP, although the machine answers on TCP: a firewall on the way blocks UDP to this port. Have it let UDP pass, both ways",
                "UDP 无应答，而同一地址 TCP 可达：途中防火墙拦截了 UDP，请放行该端口的 UDP（双向）",
            ),
            (CallFailure::NoAnswer(..), _) => (
                "no answer on UDP, nor on TCP: is the machine on, is this its address, do firewalls let UDP to this port pass both ways?",
                "UDP 与 TCP 均无应答：请确认对方已开机、地址正确，且防火墙放行该端口的 UDP（双向）",
            ),
            (CallFailure::PortClosed, _) => (
                "the machine answers that nothing listens on this UDP port: does the node run there, or does a firewall reject UDP?",
                "对方回应该 UDP 端口无服务：请确认上级节点正在运行，且防火墙未拒绝 UDP",
            ),
            _ => ("", ""),
        };
        en.push(if said.is_empty() { format!("{address}: {}", one.why) } else { format!("{address}: {said}") });
        zh.push(if said_zh.is_empty() { format!("{address}：{}", one.why) } else { format!("{address}：{said_zh}") });
    }
    let code = if failed.iter().all(|f| matches!(f.why, CallFailure::Version)) { "E1117" } else { "E1104" };
    let en = format!("the parent cannot be reached. {}. Then say `tally join` again", en.join("; "));
    fault(code, Exit::Unreachable, &en, &format!("无法连接上级。{}。处理后再次执行 tally join", zh.join("；")))
}

/// Where the request stands while nobody has answered it.
pub(super) fn pending(code: &str, parent: Division, name: &str) {
    errln!(
        "\n      code / 核对码   {code}\n\n  Read it to the authority's operator over the telephone: it is approved only if it is the same there.\n  \
         请电话告知主管机关管理员，双方一致方可批准。\n\nE1107: the request is with {parent}; {name} waits for the approval / 已提交，等待批准"
    );
}

/// What an operator at the authority does next.
pub(super) fn invited(division: Division, token: &str, file: Option<&str>, expires: &str, config: &str) {
    errln!(
        "the invitation of {division} is good until {expires}, for one machine. There:\n\n    tally join {token} --dir DIR\n"
    );
    if let Some(file) = file {
        errln!("the same as a file: {file}   (tally join --file FILE --dir DIR)");
    }
    errln!(
        "when it has asked: tally node pending --config {config}\n\
         and where the authority's key is: tally node approve {division} --code CODE --authority KEYFILE --config CONFIG"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(why: CallFailure) -> Vec<Unreached> {
        vec![Unreached { address: "10.0.0.5:7443".into(), at: "10.0.0.5:7443".parse().ok(), why }]
    }

    /// UDP that is blocked is said in words, in both languages, and told from a machine that is off.
    #[test]
    fn blocked_udp_is_named() {
        let blocked = unreached(&failed(CallFailure::NoAnswer(10, 1_228)), &[Some(true)]);
        assert!(blocked.message.starts_with("E1104: ") && blocked.message.contains("firewall on the way blocks UDP"));
        assert!(blocked.message.contains("拦截了 UDP") && blocked.exit == Exit::Unreachable);
        let off = unreached(&failed(CallFailure::NoAnswer(10, 1_228)), &[Some(false)]);
        assert!(off.message.contains("nor on TCP"), "{}", off.message);
        let none = unreached(&failed(CallFailure::NoRoute), &[None]);
        assert!(none.message.starts_with("E1104: ") && none.message.contains("no route"), "{}", none.message);
        let other = unreached(&failed(CallFailure::WrongNode("x".into())), &[None]);
        assert!(other.message.starts_with("E1103: ") && other.exit == Exit::NotAdmitted);
    }

    #[test]
    fn every_refusal_has_a_code_of_its_own_kind() {
        use JoinRefusal as R;
        let parent = "350100".parse().unwrap();
        let all = [
            (R::Expired, "E1101"),
            (R::Used, "E1102"),
            (R::Taken, "E1106"),
            (R::OtherParent, "E1114"),
            (R::OtherDivision, "E1111"),
            (R::Invite, "E1113"),
            (R::NotCommitted, "E1116"),
            (R::Request, "E1116"),
            (R::Busy, "E1112"),
            (R::Protocol, "E1117"),
        ];
        for (code, name) in all {
            let failure = refused(code, "why", parent);
            assert!(failure.message.starts_with(&format!("{name}: ")), "{}", failure.message);
            assert!(failure.message.contains("why") && failure.message.contains("350100"), "{}", failure.message);
        }
        let behind = clock_off(-252_000, 0, 252_000).message;
        assert!(behind.contains("4 min 12 s behind") && behind.contains("慢 252 秒"), "{behind}");
    }
}
