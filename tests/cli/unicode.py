"""Arbitrary text, with much of what takes no cell, or two, or joins its neighbours."""

from hypothesis import strategies as st

_awkward = st.sampled_from(
    [
        *"a1#©",
        "\u0301",  # combining
        "\u200d",  # joiner
        "\u200c",
        "\u200b",
        "\ufe0f",  # emoji style
        "\ufe0e",
        "\u202e",
        "\u1112",  # jamo
        "\u1161",
        "\u0e33",
        *"日ｗ👩❤♂🏽🏳🌈🇩🇪\n\t…",
        "\x1b[2J",
        "\ud800",
    ]
)
any_text = st.lists(_awkward | st.characters(), max_size=60).map("".join)
