"""Offers as real devices write them, for the tests of the core and for those with sockets.

Each text has ``{host}`` and ``{port}`` in the place of the phone's own address.
"""

from __future__ import annotations

from tests.support.running import Address

START = "v=0\r\no=phone 8000 8000 IN IP4 127.0.0.1\r\ns=-\r\n"
HERE = "c=IN IP4 {host}\r\n"
TIMES = "t=0 0\r\n"
AUDIO = "m=audio {port} RTP/AVP 0 8\r\n"


def hold(connection: str = HERE, audio: str = AUDIO, lines: str = "a=inactive\r\n") -> str:
    return START + connection + TIMES + audio + lines


HOLDS = {
    "inactive": hold(),
    "sendonly": hold(lines="a=sendonly\r\n"),
    "unspecified address": hold("c=IN IP4 0.0.0.0\r\n", lines=""),
    "unspecified address and recvonly": hold("c=IN IP4 0.0.0.0\r\n", lines="a=recvonly\r\n"),
    "unspecified IPv6 address": hold("c=IN IP6 ::\r\n", lines=""),
    "unspecified address with zeros": hold("c=IN IP4 000.000.000.000\r\n", lines=""),
    "unspecified address in short": hold("c=IN IP4 0\r\n", lines=""),
    "port 1": hold(audio="m=audio 1 RTP/AVP 0 8\r\n"),
    "port 9": hold(audio="m=audio 9 RTP/AVP 0 8\r\n"),
    "port 9, unspecified address, sendonly": hold(
        "c=IN IP4 0.0.0.0\r\n", "m=audio 9 RTP/AVP 0 8\r\n", "a=sendonly\r\n"
    ),
    "port above 65535": hold(audio="m=audio 70000 RTP/AVP 0 8\r\n"),
    "port $": hold(audio="m=audio $ RTP/AVP 0 8\r\n"),
    "name that no name server knows": hold("c=IN IP4 held.invalid\r\n"),
    "nonsense in the place of an address": hold("c=IN IP4 -?-\r\n"),
    "no c= line": hold(""),
    "c= line without an address": hold("c=IN IP4\r\n"),
    "c= line of another network": hold("c=TN RFC2543 +1-201-406-4090\r\n"),
    "multicast address": hold("c=IN IP4 224.2.1.1/127\r\n"),
    "broadcast address": hold("c=IN IP4 255.255.255.255\r\n"),
    "IPv6 address": hold("c=IN IP6 2001:db8::77\r\n"),
    "foreign codec": hold(audio="m=audio {port} RTP/AVP 18\r\n"),
    "no format": hold(audio="m=audio {port} RTP/AVP\r\n"),
    "m=image beside it": hold(lines="a=inactive\r\nm=image 0 udptl t38\r\n"),
    "m=image without a format beside it": hold(lines="a=inactive\r\nm=image 0 UDPTL\r\n"),
    "m=video with a port above 65535": hold(lines="a=inactive\r\nm=video 70000 RTP/AVP 31\r\n"),
    "inactive for the session": START + HERE + TIMES + "a=inactive\r\n" + AUDIO,
    "a line without =": hold(lines="broken\r\na=inactive\r\nbroken\r\n"),
    "NUL at the end": hold(lines="a=inactive\r\n\0"),
    "NUL behind the direction": hold(lines="a=inactive\0"),
    "empty lines at the end": hold(lines="a=inactive\r\n\r\n\r\n"),
}
"""Offers that ask for no music. The key says what is odd about each. All get 200 with ``inactive``."""

SWITCHED_OFF = {
    "port 0": hold(audio="m=audio 0 RTP/AVP 0 8\r\n", lines=""),
    "port 0 and inactive": hold(audio="m=audio 0 RTP/AVP 0 8\r\n"),
    "port 0 without a format": hold(audio="m=audio 0 RTP/AVP\r\n", lines=""),
    "port 0 without a c= line": hold("", audio="m=audio 0 RTP/AVP 0 8\r\n", lines=""),
    "port 0 and a c= line that cannot be read": hold("c=\r\n", audio="m=audio 0 RTP/AVP 0 8\r\n", lines=""),
    "port 0 and T.38 beside it": hold(audio="m=audio 0 RTP/AVP 0\r\nm=image {port} udptl t38\r\n", lines=""),
    "a protocol that is not spoken": hold(audio="m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n"),
    "SRTP without a key": hold(audio="m=audio {port} RTP/SAVP 0\r\n"),
}
"""Later offers whose audio stream the answer refuses by port 0: it is switched off. All get 200."""

PLAYABLE = {
    "audio that is switched off, without a format": "m=audio 0 RTP/AVP\r\n" + AUDIO,
    "image that is switched off, without a format": AUDIO + "m=image 0 UDPTL\r\n",
    "application that is switched off, without a protocol": AUDIO + "m=application 0 *\r\n",
    "video at port 70000": "m=video 70000 RTP/AVP 31\r\n" + AUDIO,
    "video at port $": "m=video $ RTP/AVP 31\r\n" + AUDIO,
    "an m= line without anything": AUDIO + "m=\r\n",
    "audio at port 70000 before the one that is used": "m=audio 70000 RTP/AVP 0\r\n" + AUDIO,
    "audio without a format before the one that is used": "m=audio 4000 RTP/AVP\r\n" + AUDIO,
    "a c= line of a stream that is switched off": AUDIO + "m=video 0 RTP/AVP 31\r\nc=IN IP4\r\n",
    "a c= line of another stream": "m=audio 4000 RTP/AVP 0\r\nc=IN IP9 x\r\n" + AUDIO,
    "audio on hold before the one that is used": "m=audio 4000 RTP/AVP 0\r\na=inactive\r\n" + AUDIO,
    "audio at a multicast address": "m=audio 4000 RTP/AVP 0\r\nc=IN IP4 224.2.1.1/127\r\n" + AUDIO,
    "audio at port 9": "m=audio 9 RTP/AVP 0\r\n" + AUDIO,
    "an empty line, NUL and words at the end": AUDIO + "a=recvonly\r\n\r\n\0\r\nwords behind it\r\n",
    "TAB instead of spaces": "m=audio\t{port}\tRTP/AVP\t125\r\na=rtpmap:125\tPCMU/8000\r\n",
}
"""Streams of an offer. The server can play to one of them; the key says what is odd about the others."""


def playable(media: str) -> str:
    """Return an offer of the streams ``media``."""
    return START + HERE + TIMES + media


def filled(text: str, address: Address) -> str:
    """Return ``text`` with the address ``address`` in its places."""
    host, port = address
    return text.replace("{host}", host).replace("{port}", str(port))
