/*
 * Receives the music of up to 65,536 calls on the loopback. Each call has an address of its own; all have one port.
 *
 *   hear PORT FIRST COUNT SECONDS
 *
 * The calls have the COUNT addresses from FIRST on. The program binds PORT for RTP, and discards what comes to the port
 * above. It prints "port N" when it listens. It ends when its standard input is closed, after SECONDS at the latest.
 * Then it prints one line for each call with music, in ns since 1970 by the kernel's clock:
 *
 *   call PLACE SOURCE FIRST LAST PACKETS LOST SKIPPED
 *
 * and one line for each hole in the music of a call: AT is when the music went on, and LENGTH how long there was none.
 * LOST sequence numbers never came; SKIPPED packets were left out by the sender (the timestamp jumps, the number does
 * not). A pause of more than 100 ms is a hole even if nothing is missing.
 *
 *   hole PLACE AT LENGTH LOST SKIPPED
 *
 * and at last "dropped N", the packets that found the buffer full, and "twice N", the calls that got music from two
 * sources. Of these only the first one counts. PCMU in packets of 20 ms is expected.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 256, KEPT = 16, LOOK_MS = 4, RTP_HEADER = 12, SAMPLES = 160, HOLES = 1 << 20 };
static const int64_t PAUSE_NS = 100000000;

struct call {
    int64_t first, last;
    uint32_t source, ssrc, packets, timestamp;
    int32_t lost, skipped;
    uint16_t sequence, second;
};
struct hole {
    int64_t at, length;
    uint32_t place;
    int32_t lost, skipped;
};

static uint8_t octets[BATCH][KEPT];
static union { char room[256]; struct cmsghdr aligned; } control[BATCH];
static struct sockaddr_in sources[BATCH];
static struct iovec pieces[BATCH];
static struct mmsghdr batch[BATCH];
static struct call *calls;
static struct hole *holes;
static uint32_t first_address, count, hole_count, dropped;

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int bound(int port, int reads) {
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int on = 1, buffer = reads ? 64 << 20 : 1, fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 2)) return -1;
    if (bind(fd, (struct sockaddr *)&any, sizeof any)) return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer))
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof on);
    return fd;
}

static void count_packet(uint32_t place, uint32_t source, const uint8_t *rtp, int64_t at) {
    uint16_t sequence;
    uint32_t timestamp, ssrc;
    struct call *one = &calls[place];
    memcpy(&sequence, rtp + 2, 2);
    memcpy(&timestamp, rtp + 4, 4);
    memcpy(&ssrc, rtp + 8, 4);
    sequence = ntohs(sequence);
    timestamp = ntohl(timestamp);
    if (!one->packets) {
        *one = (struct call){.first = at, .last = at, .source = source, .ssrc = ssrc, .packets = 1,
                             .sequence = sequence, .timestamp = timestamp};
        return;
    }
    if (source != one->source) {
        one->second = 1;
        return;
    }
    if (ssrc != one->ssrc) return;
    int16_t ahead = (int16_t)(sequence - one->sequence);
    if (ahead == 0) return; /* twice */
    one->packets++;
    if (ahead < 0) { /* late, and counted as lost before */
        one->lost--;
        return;
    }
    int32_t lost = ahead - 1, skipped = (int32_t)(timestamp - one->timestamp) / SAMPLES - ahead;
    if (skipped < 0) skipped = 0;
    if ((lost || skipped || at - one->last > PAUSE_NS) && hole_count < HOLES)
        holes[hole_count++] = (struct hole){at, at - one->last, place, lost, skipped};
    one->lost += lost;
    one->skipped += skipped;
    one->sequence = sequence;
    one->timestamp = timestamp;
    one->last = at;
}

static void receive(int fd) {
    for (int got = BATCH; got == BATCH;) {
        for (int i = 0; i < BATCH; i++) {
            pieces[i] = (struct iovec){octets[i], KEPT};
            batch[i].msg_hdr = (struct msghdr){.msg_name = &sources[i], .msg_namelen = sizeof sources[i],
                                               .msg_iov = &pieces[i], .msg_iovlen = 1,
                                               .msg_control = &control[i], .msg_controllen = sizeof control[i]};
        }
        got = recvmmsg(fd, batch, BATCH, MSG_DONTWAIT, NULL);
        for (int i = 0; i < got; i++) {
            struct timespec stamp = {0, 0};
            uint32_t to = 0;
            for (struct cmsghdr *c = CMSG_FIRSTHDR(&batch[i].msg_hdr); c; c = CMSG_NXTHDR(&batch[i].msg_hdr, c)) {
                if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS)
                    memcpy(&stamp, CMSG_DATA(c), sizeof stamp);
                else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL)
                    memcpy(&dropped, CMSG_DATA(c), sizeof dropped);
                else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
                    struct in_pktinfo info;
                    memcpy(&info, CMSG_DATA(c), sizeof info);
                    to = ntohl(info.ipi_addr.s_addr);
                }
            }
            uint32_t place = to - first_address;
            int rtp = batch[i].msg_len >= RTP_HEADER && octets[i][0] >> 6 == 2 && (octets[i][1] & 0x7f) < 64;
            if (place < count && rtp) /* 64 to 95 would be RTCP, RFC 5761 */
                count_packet(place, ntohl(sources[i].sin_addr.s_addr), octets[i],
                             (int64_t)stamp.tv_sec * 1000000000 + stamp.tv_nsec);
        }
    }
}

int main(int argc, char **argv) {
    struct in_addr first;
    if (argc != 5 || !inet_aton(argv[2], &first)) {
        fprintf(stderr, "usage: hear PORT FIRST COUNT SECONDS\n");
        return 2;
    }
    int port = atoi(argv[1]), fd = bound(port, 1);
    first_address = ntohl(first.s_addr);
    count = (uint32_t)atoi(argv[3]);
    double seconds = atof(argv[4]);
    if (!count || count > 65536) {
        fprintf(stderr, "hear: COUNT %u; expected 1 to 65536\n", count);
        return 2;
    }
    calls = calloc(count, sizeof *calls);
    holes = calloc(HOLES, sizeof *holes);
    if (!calls || !holes || fd < 0 || bound(port + 1, 0) < 0) {
        perror("hear");
        return 1;
    }
    printf("port %d\n", port);
    fflush(stdout);
    int64_t until = now_ns() + (int64_t)(seconds * 1e9);
    for (int last = 0; !last;) {
        struct pollfd input = {.fd = 0, .events = POLLIN};
        last = poll(&input, 1, LOOK_MS) != 0 || now_ns() > until;
        receive(fd);
    }
    uint32_t twice = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct call *one = &calls[i];
        struct in_addr source = {htonl(one->source)};
        twice += one->second;
        if (one->packets)
            printf("call %u %s %lld %lld %u %d %d\n", i, inet_ntoa(source), (long long)one->first,
                   (long long)one->last, one->packets, one->lost, one->skipped);
    }
    for (uint32_t i = 0; i < hole_count; i++)
        printf("hole %u %lld %lld %d %d\n", holes[i].place, (long long)holes[i].at, (long long)holes[i].length,
               holes[i].lost, holes[i].skipped);
    printf("dropped %u\ntwice %u\n", dropped, twice);
    return 0;
}
