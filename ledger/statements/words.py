"""Words that statements use: headers, what became of a task, and lines that only add up."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

__all__ = [
    "HEADERS",
    "LEFT_OUT",
    "NEGATIVE",
    "STATUSES",
    "TOTALS",
    "header_parts",
    "money_unit",
    "plain_header",
    "same_status",
]

HEADERS: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "task": (
        ("task id", "taskid", "任务id", "任务编号", "任务号", "task"),
        ("id", "generation id", "video id", "任务"),
    ),
    "key": (
        ("idempotency key", "幂等键"),
        ("job id", "job key", "job", "external id", "client reference", "key", "作业", "作业id"),
    ),
    "model": (
        ("model", "model id", "模型", "模型id"),
        ("model name", "video model", "模型名称", "视频模型"),
    ),
    "amount": (
        (
            *("credits used", "used credits", "credits charged", "charged credits"),
            *("credit used", "credits consumed", "credits spent", "credits cost", "cost credits"),
            *("usage credits used", "消耗积分", "扣除积分", "扣费积分", "消费积分", "使用积分"),
            *("uc used", "used uc", "uc charged", "charged uc", "消耗uc", "扣费uc"),
        ),
        (
            "credits",
            "credit",
            "debit credits",
            "credits debited",
            "credits amount",
            "amount credits",
            "uc",
            "积分",
            "积分数",
        ),
        ("amount", "cost", "charge", "charged", "消耗", "扣费", "消费", "金额", "费用"),
    ),
    "refunded": (
        (
            *("refunded", "refunded credits", "credits refunded", "refund credits"),
            *("refund amount", "退款积分", "退回积分", "返还积分", "退款", "退款金额"),
        ),
    ),
    "seconds": (
        (
            *("video seconds", "video length", "video duration", "output seconds"),
            *("billed seconds", "output duration", "billed duration", "seconds"),
            *("视频时长", "视频秒数", "计费时长", "计费秒数", "秒数"),
        ),
    ),
    "quality": (
        ("quality", "resolution", "画质", "清晰度", "分辨率"),
        ("video quality", "video resolution", "规格", "视频规格"),
    ),
    "at": (
        ("charged at", "billed at", "扣费时间", "消费时间", "计费时间"),
        ("completed at", "finished at", "完成时间", "结束时间"),
        ("time", "timestamp", "datetime", "date time", "date and time", "时间", "交易时间"),
        ("created at", "created", "created time", "submitted at", "创建时间", "提交时间"),
        ("date", "day", "日期", "交易日期"),
    ),
    "time_of_day": (("time of day",),),
    "status": (
        ("status", "task status", "状态", "任务状态"),
        ("state", "task state"),
        ("transaction type", "entry type", "line type", "交易类型", "类型"),
    ),
    "money": (("money", "cost money", "usage cost usd", "折合金额"),),
    "currency": (("currency", "currency code", "币种", "货币"),),
    "version": (("price version", "pricing version", "价格版本"),),
}
"""Headers of each thing, in plain form; those of an earlier group are believed before a later."""

LEFT_OUT: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("duration", "duration seconds", "processing time", "时长", "耗时", "处理时长"),
        "may be the processing time; if it is the length of the video, name it as seconds",
    ),
    **dict.fromkeys(
        ("credits reserved", "reserved credits", "usage credits reserved", "预扣积分", "冻结积分"),
        "is what was reserved, not what was charged",
    ),
    **dict.fromkeys(
        ("balance", "remaining credits", "remaining", "余额", "剩余积分"),
        "is a balance, not a charge",
    ),
}
"""Headers that look like something else, and why they are not taken for it."""

STATUSES: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("completed", "complete", "success", "succeeded", "successful", "done", "finished", "ok"),
        "completed",
    ),
    **dict.fromkeys(("成功", "已完成", "完成", "已成功"), "completed"),
    **dict.fromkeys(("failed", "fail", "failure", "error", "失败", "已失败", "错误"), "failed"),
    **dict.fromkeys(("cancelled", "canceled", "已取消", "取消"), "cancelled"),
    **dict.fromkeys(("refund", "refunded", "reversal", "退款", "已退款", "退回", "返还"), "refund"),
    **dict.fromkeys(
        ("topup", "top-up", "top up", "top_up", "recharge", "deposit", "purchase", "充值", "购买"),
        "topup",
    ),
    **dict.fromkeys(
        ("charge", "charged", "consume", "consumption", "usage", "deduct", "消费", "扣费", "消耗"),
        "charge",
    ),
}
"""Words for what became of a task, or for what a line is, and ours for them."""

NEGATIVE: Final = ("refund", "topup")
"""Lines that give something."""

TOTALS: Final = (
    r"(?i)^(?:(?:grand|sub|page|monthly|overall)[ -]?)?totals?(?:[\s:：(]|$)"
    r"|^(?:sum|summe|gesamt|итого|合计|总计|小计|总额|合計|總計|小計)(?:[\s:：(（]|$)"
)
"""How a line begins that adds up others."""

_MONEY: Final = (
    ("USD", r"\busd\b|\$|美元|\bdollars?\b"),
    ("CNY", r"\bcny\b|\brmb\b|人民币|元"),
    ("EUR", r"\beur\b|\u20ac|欧元"),
)
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_UNIT: Final = re.compile(
    r"\busd\b|\bcny\b|\brmb\b|\beur\b|\$|\u20ac|美元|人民币|欧元|元|\bdollars?\b"
)


def plain_header(header: str) -> str:
    """A header without case, marks and the units behind it, for looking it up.

    >>> plain_header("Credits_Used"), plain_header("createdAt"), plain_header("任务 ID")
    ('credits used', 'created at', '任务id')
    """
    words = _CAMEL.sub(" ", header.strip()).casefold()
    words = re.sub(r"[\s_\-./:()\[\]（）【】：]+", " ", words).strip()
    return re.sub(r"(?<=[^\x00-\x7f]) (?=\w)|(?<=\w) (?=[^\x00-\x7f])", "", words)


def money_unit(header: str) -> tuple[str | None, str]:
    """The currency that a header names, and the plain header without it.

    >>> money_unit("Amount (USD)"), money_unit("金额（元）"), money_unit("Credits used")
    (('USD', 'amount'), ('CNY', '金额'), (None, 'credits used'))
    """
    plain = plain_header(header)
    for code, pattern in _MONEY:
        if re.search(pattern, plain):
            return code, re.sub(r"\s+", " ", _UNIT.sub(" ", plain)).strip()
    return None, plain


_SUFFIX: Final = re.compile(r"(.*\S)\s*[(\[（【]\s*([^()\[\]（）【】]*?)\s*[)\]）】]")
_BARE: Final = re.compile(r"(?i)(.*[^\W_])[\s_]+(utc|gmt)")
_OFFSET: Final = re.compile(r"(?i)(?:utc|gmt)?\s*([+\-\u2212])\s*([0-9]{1,2})(?::?([0-5][0-9]))?")
_NAMES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("utc", "gmt", "z"), "UTC"),
    **dict.fromkeys(("beijing", "beijing time", "北京时间"), "Asia/Shanghai"),
}


def header_parts(header: str) -> tuple[str, str | None, str | None]:
    """A header, what stands in parentheses behind it, and the time zone that this names.

    >>> header_parts("Completed at (UTC)"), header_parts("完成时间（UTC+8）")
    (('Completed at', 'UTC', 'UTC'), ('完成时间', 'UTC+8', '+08:00'))
    >>> header_parts("Task ID (ours)"), header_parts("created_at_utc"), header_parts("Model")
    (('Task ID', 'ours', None), ('created_at', 'utc', 'UTC'), ('Model', None, None))
    """
    found = _SUFFIX.fullmatch(header.strip()) or _BARE.fullmatch(header.strip())
    if found is None:
        return header, None, None
    return found[1], found[2], _zone(found[2])


def _zone(suffix: str) -> str | None:
    """The zone as a mapping writes it. Short names such as CST stand for several."""
    if (named := _NAMES.get(suffix.casefold())) is not None:
        return named
    if offset := _OFFSET.fullmatch(suffix):
        sign = "+" if offset[1] == "+" else "-"
        return f"{sign}{int(offset[2]):02}:{offset[3] or '00'}"
    return suffix if re.fullmatch(r"[A-Z][A-Za-z_]+(?:/[A-Z][A-Za-z_]+){1,2}", suffix) else None


def same_status(word: str, own: Mapping[str, str]) -> str:
    """A statement's word for a status as ours; a word nobody knows stays as it is.

    >>> same_status("成功", {}), same_status("OK!", {"ok!": "completed"}), same_status("odd", {})
    ('completed', 'completed', 'odd')
    """
    key = word.strip().casefold()
    return own.get(key) or STATUSES.get(key) or key
