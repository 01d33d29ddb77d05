/*
 * The farm: one process that receives the music of up to 65,536 callers. Each caller has an address of its own; all
 * have the same port.
 *
 *   farm udp           PORT FIRST COUNT EACH SECONDS
 *   farm packet:DEVICE PORT FIRST COUNT EACH SECONDS
 *
 * The callers have the COUNT addresses from FIRST on. The farm counts the packets of each EACHth caller. "udp" receives
 * on the loopback at PORT, or at the first free port after PORT. It discards the RTCP, which comes to the port above.
 * IP_PKTINFO names the caller that a packet was sent to. "packet" watches all packets that come in by DEVICE, even the
 * ones that the kernel drops afterwards. For "packet", EACH has to be a power of two and FIRST a multiple of EACH: a
 * filter in the kernel (BPF) selects the callers.
 *
 * The farm prints "port N" when it listens. Then it obeys the lines of its standard input. "begin" sets all counts to
 * zero, and the farm prints "begun". "end" makes it print the counts since "begin" as one line of JSON (see
 * bench/common/farm.py). The farm ends when its standard input is closed, after SECONDS at the latest.
 *
 * The farm stores no packet. For each packet it stores one number: how far the packet is behind the clock of its
 * timestamps (PCMU, 8000 a second, 160 in a packet). The figures need all of these numbers, since the most punctual
 * packet is known only at the end.
 *
 * The farm reads only every 4 ms: the kernel stamps the packets, so no sender pays for waking the farm each time.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 256, KEPT = 64, LOOK_MS = 4, UDP_HEADERS = 28, RTP_HEADER = 12, SAMPLES = 160, SOCKETS = 2 };
enum { BIN_NS = 10000, BINS = 100000 }; /* spacings by 10 us, up to a second */
static const int64_t TICK_NS = 125000; /* one timestamp */
static const int32_t LATE = 50000, LATE10 = 100000, LATE20 = 200000; /* 5, 10 and 20 ms in units of 100 ns */

struct caller {
    int64_t first, last; /* arrivals, ns since 1970 */
    uint32_t first_timestamp, most_timestamp, ssrc, count, sequences;
    uint16_t sequence;
    double jitter;
    int32_t best, *behind; /* units of 100 ns */
};

static uint8_t octets[BATCH][KEPT];
static union { char room[256]; struct cmsghdr aligned; } control[BATCH];
static struct iovec pieces[BATCH];
static struct mmsghdr batch[BATCH];
static struct caller *callers;
static uint64_t spacings[BINS + 1], foreign, overflow, packets;
static int64_t widest, begun = INT64_MAX;
static double jitters;
static uint32_t first_address, count, each, room;
static uint32_t dropped[SOCKETS], dropped_before[SOCKETS];

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void stamped(int fd) {
    int on = 1, buffer = 64 << 20;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer))
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof on);
}

static void filtered(int fd, struct sock_filter *code, size_t length) {
    struct sock_fprog program = {(unsigned short)length, code};
    if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program)) perror("farm: filter");
}

static int udp(int port) {
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int on = 1, fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    /* only from this machine */
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 2)) return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&any, sizeof any)) {
        close(fd);
        return -1;
    }
    stamped(fd);
    return fd;
}

/* Bind a port and discard everything that comes to it, so that no sender gets "port unreachable". */
static int sink(int port) {
    struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&any, sizeof any)) return -1;
    filtered(fd, &nothing, 1);
    return fd;
}

static int tap(const char *device, int port) {
    struct sock_filter wanted[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 19),                /* the last octet of the destination */
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, each - 1, 5, 0),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 9),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_UDP, 0, 3),
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 22),                /* the port of the destination */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)port, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, KEPT),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    struct sockaddr_ll side = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP),
                               .sll_ifindex = (int)if_nametoindex(device)};
    int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    filtered(fd, wanted, sizeof wanted / sizeof *wanted);
    if (!side.sll_ifindex || bind(fd, (struct sockaddr *)&side, sizeof side)) return -1;
    stamped(fd);
    return fd;
}

static void count_packet(uint32_t to, const uint8_t *rtp, size_t length, int64_t arrival) {
    uint32_t place = to - first_address, timestamp, ssrc;
    uint16_t sequence;
    if (arrival < begun) return;
    if (place >= count || place % each || length < RTP_HEADER || rtp[0] >> 6 != 2) {
        foreign++;
        return;
    }
    memcpy(&sequence, rtp + 2, 2);
    memcpy(&timestamp, rtp + 4, 4);
    memcpy(&ssrc, rtp + 8, 4);
    sequence = ntohs(sequence);
    timestamp = ntohl(timestamp);
    struct caller *one = &callers[place / each];
    if (!one->count) {
        *one = (struct caller){.first = arrival, .last = arrival, .first_timestamp = timestamp, .sequence = sequence,
                               .most_timestamp = timestamp, .ssrc = ssrc, .sequences = 1, .behind = one->behind};
    } else if (ssrc != one->ssrc) {
        foreign++;
        return;
    }
    if (one->count == room) {
        overflow++;
        return;
    }
    int64_t ticks = (int32_t)(timestamp - one->first_timestamp);
    int32_t behind = (int32_t)((arrival - one->first - ticks * TICK_NS) / 100);
    if (one->count) {
        int64_t spacing = arrival - one->last, bin = spacing < 0 ? 0 : spacing / BIN_NS;
        int32_t moved = behind - one->behind[one->count - 1];
        int16_t ahead = (int16_t)(sequence - one->sequence);
        spacings[bin < BINS ? bin : BINS]++;
        if (spacing > widest) widest = spacing;
        one->jitter += ((moved < 0 ? -moved : moved) - one->jitter) / 16;
        jitters += one->jitter;
        if (ahead > 0) {
            one->sequences += (uint32_t)ahead;
            one->sequence = sequence;
            one->most_timestamp = timestamp;
        }
    }
    if (behind < one->best) one->best = behind;
    one->behind[one->count++] = behind;
    one->last = arrival;
    packets++;
}

static void receive(int fd, int number, int raw) {
    for (int got = BATCH; got == BATCH;) {
        for (int i = 0; i < BATCH; i++) {
            pieces[i] = (struct iovec){octets[i], KEPT};
            batch[i].msg_hdr = (struct msghdr){.msg_iov = &pieces[i], .msg_iovlen = 1,
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
                    memcpy(&dropped[number], CMSG_DATA(c), sizeof dropped[number]);
                else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
                    struct in_pktinfo info;
                    memcpy(&info, CMSG_DATA(c), sizeof info);
                    to = ntohl(info.ipi_addr.s_addr);
                }
            }
            size_t skip = raw ? UDP_HEADERS : 0, length = batch[i].msg_len;
            if (raw && length >= UDP_HEADERS) {
                memcpy(&to, octets[i] + 16, 4);
                to = ntohl(to);
            }
            if (length > skip) /* a packet without a stamp has length 0 */
                count_packet(to, octets[i] + skip, length - skip, (int64_t)stamp.tv_sec * 1000000000 + stamp.tv_nsec);
        }
    }
}

static void begin(void) {
    for (uint32_t i = 0; i < count / each + 1; i++) callers[i].count = 0;
    memset(spacings, 0, sizeof spacings);
    memcpy(dropped_before, dropped, sizeof dropped);
    foreign = overflow = packets = 0;
    widest = 0;
    jitters = 0;
    begun = now_ns();
    printf("begun\n");
    fflush(stdout);
}

static void end(void) {
    uint64_t late = 0, late10 = 0, late20 = 0, lost = 0, skipped = 0, due = 0, receiving = 0, intervals = 0;
    for (uint32_t i = 0; i < (count + each - 1) / each; i++) {
        struct caller *one = &callers[i];
        if (!one->count) continue;
        uint64_t by_time = (uint32_t)(one->most_timestamp - one->first_timestamp) / SAMPLES + 1;
        receiving++;
        intervals += one->count - 1;
        due += by_time > one->sequences ? by_time : one->sequences;
        lost += one->sequences > one->count ? one->sequences - one->count : 0;
        skipped += by_time > one->sequences ? by_time - one->sequences : 0;
        for (uint32_t k = 0; k < one->count; k++) {
            int32_t behind = one->behind[k] - one->best;
            late += behind > LATE;
            late10 += behind > LATE10;
            late20 += behind > LATE20;
        }
    }
    printf("{\"receiving\": %llu, \"silent\": %llu, \"packets\": %llu, \"due\": %llu, \"lost\": %llu, \"skipped\": %llu, "
           "\"late\": %llu, \"late10\": %llu, \"late20\": %llu, \"foreign\": %llu, \"overflow\": %llu, \"dropped\": %u, \"jitter\": %.6f, "
           "\"widest\": %.6f, \"spacings\": [",
           (unsigned long long)receiving, (unsigned long long)((count + each - 1) / each - receiving),
           (unsigned long long)packets, (unsigned long long)due, (unsigned long long)lost, (unsigned long long)skipped,
           (unsigned long long)late, (unsigned long long)late10, (unsigned long long)late20,
           (unsigned long long)foreign, (unsigned long long)overflow,
           dropped[0] - dropped_before[0] + dropped[1] - dropped_before[1],
           intervals ? jitters / (double)intervals / 1e4 : 0.0, (double)widest / 1e6);
    const char *comma = "";
    for (int bin = 0; bin <= BINS; bin++)
        if (spacings[bin]) {
            printf("%s[%d, %llu]", comma, bin, (unsigned long long)spacings[bin]);
            comma = ", ";
        }
    printf("]}\n");
    fflush(stdout);
    begun = INT64_MAX;
}

int main(int argc, char **argv) {
    struct in_addr first;
    if (argc != 7 || !inet_aton(argv[3], &first)) {
        fprintf(stderr, "usage: farm udp|packet:DEVICE PORT FIRST COUNT EACH SECONDS\n");
        return 2;
    }
    int raw = !strncmp(argv[1], "packet:", 7), port = atoi(argv[2]), sockets = raw ? 1 : SOCKETS, fds[SOCKETS];
    double seconds = atof(argv[6]);
    first_address = ntohl(first.s_addr);
    count = (uint32_t)atoi(argv[4]);
    each = (uint32_t)atoi(argv[5]);
    if (!count || count > 65536 || !each || (raw && (each & (each - 1) || first_address % each || each > 256))) {
        fprintf(stderr, "farm: COUNT %u, EACH %u; expected 1 to 65536, and a power of two\n", count, each);
        return 2;
    }
    room = (uint32_t)(seconds * 60) + 100; /* a page without data takes no memory */
    callers = calloc(count / each + 1, sizeof *callers);
    for (uint32_t i = 0; i < count / each + 1; i++) callers[i].behind = malloc(room * sizeof(int32_t));
    if (raw)
        fds[0] = tap(argv[1] + 7, port);
    else
        for (;; port += 2) {
            int probe = port > 65000 ? -1 : sink(port); /* negative if the port is not free */
            if (probe >= 0) close(probe);
            if (port > 65000 || (probe >= 0 && sink(port + 1) >= 0)) break;
        }
    for (int i = 0; i < sockets && !raw; i++) fds[i] = udp(port);
    if (fds[0] < 0 || fds[sockets - 1] < 0) {
        perror("farm");
        return 1;
    }
    printf("port %d\n", port);
    fflush(stdout);
    char commands[64]; size_t had = 0;
    for (int64_t until = now_ns() + (int64_t)(seconds * 1e9); now_ns() < until;) {
        struct pollfd input = {.fd = 0, .events = POLLIN};
        int ready = poll(&input, 1, LOOK_MS);
        for (int i = 0; i < sockets; i++) receive(fds[i], i, raw);
        if (!ready) continue;
        ssize_t got = read(0, commands + had, sizeof commands - 1 - had);
        if (got <= 0) break;
        had += (size_t)got;
        for (char *line; (line = memchr(commands, '\n', had));) {
            size_t length = (size_t)(line - commands) + 1;
            if (!strncmp(commands, "begin\n", 6)) begin();
            if (!strncmp(commands, "end\n", 4)) end();
            memmove(commands, commands + length, had -= length);
        }
        if (had == sizeof commands - 1) break;
    }
    return 0;
}
