"""``tools/translations.py`` names each English section that changed since its translation was checked."""

from __future__ import annotations

from tools.translations import changed, with_record


def test_a_changed_section_is_named_until_its_translation_is_recorded() -> None:
    japanese = with_record("# 音\n\n## 大きさ\n\n大きい。\n", "# Sound\n\n## Loudness\n\nIt is loud.\n")
    assert japanese.startswith("# 音\n\n## 大きさ\n\n大きい。\n\n<!-- ")
    assert changed(japanese, "# Sound\n\n## Loudness\n\nIt is\nloud.\n") == []  # another line break
    english = "# Sound\n\n## Loudness\n\nIt is not loud.\n\n## Seam\n\n```sh\n# no heading\n```\n"
    assert changed(japanese, english) == ["## Loudness", "## Seam"]
    assert changed(with_record(japanese, english), english) == []
