/*
 * The smallest program that answers the calls of rate.xml: it shows what SIPp and the kernel can do on this machine.
 *
 *   answer HOST PORT
 *
 * It reads up to 64 datagrams at once (recvmmsg) and sends all their answers at once (sendmmsg): 180 and 200 to an
 * INVITE, 200 to any other request but ACK. It copies Via, Record-Route, From, To, Call-ID and CSeq unchanged. It knows
 * no compact forms, keeps no state and plays no music.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { BATCH = 64, OCTETS = 4096, BUFFER = 4 << 20 };
static const char *const COPIED[] = {"Via:", "Record-Route:", "From:", "To:", "Call-ID:", "CSeq:"};
static const char OFFER[] = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
                            "m=audio 30000 RTP/AVP 0\r\na=sendonly\r\n";

static char asked[BATCH][OCTETS + 1], answered[2 * BATCH][OCTETS];
static struct sockaddr_in peers[BATCH];
static struct iovec in[BATCH], out[2 * BATCH];
static struct mmsghdr requests[BATCH], answers[2 * BATCH];

static char contact[64]; /* ACK and BYE go there if a proxy is between */

static size_t write_answer(char *to, const char *request, const char *status, const char *body) {
    size_t at = (size_t)sprintf(to, "SIP/2.0 %s\r\n", status);
    for (const char *line = request, *end; (end = strstr(line, "\r\n")) && end != line; line = end + 2)
        for (size_t i = 0; i < sizeof COPIED / sizeof *COPIED; i++) {
            size_t length = (size_t)(end - line);
            if (strncmp(line, COPIED[i], strlen(COPIED[i])) || at + length > OCTETS - 600) continue;
            memcpy(to + at, line, length);
            at += length;
            if (COPIED[i][0] == 'T' && !memmem(line, length, ";tag=", 5)) at += (size_t)sprintf(to + at, ";tag=1");
            at += (size_t)sprintf(to + at, "\r\n");
        }
    if (*body) at += (size_t)sprintf(to + at, "%sContent-Type: application/sdp\r\n", contact);
    return at + (size_t)sprintf(to + at, "Content-Length: %zu\r\n\r\n%s", strlen(body), body);
}

int main(int argc, char **argv) {
    int fd = socket(AF_INET, SOCK_DGRAM, 0), buffer = BUFFER;
    struct sockaddr_in local = {.sin_family = AF_INET};
    if (argc != 3 || !inet_aton(argv[1], &local.sin_addr)) {
        fprintf(stderr, "usage: answer HOST PORT\n");
        return 2;
    }
    local.sin_port = htons((uint16_t)atoi(argv[2]));
    snprintf(contact, sizeof contact, "Contact: <sip:1@%s:%d>\r\n", inet_ntoa(local.sin_addr), atoi(argv[2]));
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    if (fd < 0 || bind(fd, (struct sockaddr *)&local, sizeof local)) {
        perror("answer");
        return 1;
    }
    for (;;) {
        unsigned int due = 0;
        for (int i = 0; i < BATCH; i++) {
            in[i] = (struct iovec){asked[i], OCTETS};
            requests[i].msg_hdr = (struct msghdr){.msg_name = &peers[i], .msg_namelen = sizeof peers[i],
                                                  .msg_iov = &in[i], .msg_iovlen = 1};
        }
        int got = recvmmsg(fd, requests, BATCH, MSG_WAITFORONE, NULL);
        for (int i = 0; i < got; i++) {
            int invite = !strncmp(asked[i], "INVITE ", 7);
            asked[i][requests[i].msg_len] = 0;
            for (int final = !invite; final < 2 && strncmp(asked[i], "ACK ", 4); final++, due++) {
                const char *status = final ? "200 OK" : "180 Ringing", *body = final && invite ? OFFER : "";
                out[due] = (struct iovec){answered[due], write_answer(answered[due], asked[i], status, body)};
                answers[due].msg_hdr = (struct msghdr){.msg_name = &peers[i], .msg_namelen = sizeof peers[i],
                                                       .msg_iov = &out[due], .msg_iovlen = 1};
            }
        }
        for (unsigned int sent = 0; sent < due;) {
            int more = sendmmsg(fd, answers + sent, due - sent, 0);
            sent += more > 0 ? (unsigned int)more : 1;
        }
    }
}
