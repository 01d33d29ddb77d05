/*
 * The yardstick of bench/playing/engines.py: the least work that sends a packet of PCMU to many addresses each 20 ms.
 *
 *   send LOCAL LOCAL_PORT FIRST COUNT PORT SLOTS THREADS
 *
 * It sends by sendmmsg from LOCAL:LOCAL_PORT to the COUNT addresses from FIRST on, at PORT: the same 172 octets to all.
 * SLOTS divides the 20 ms: with 1 slot all packets leave at once, with 20 a twentieth of them leaves each millisecond.
 * Each of the THREADS threads has a part of the addresses. Deadlines are absolute; an overdue packet is sent at once.
 *
 * It prints "ready", waits for a line on its standard input, and sends until that is closed. Then it prints
 * "sent N failed M".
 * The socket has the same options as the server's (moh/net/sockets.py), so that the kernel does the same work for both.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PAYLOAD = 160, HEADER = 12, PERIOD_NS = 20000000, MOST = 1024, SHIFT_NS = 500000, MOST_THREADS = 64 };

struct slot {
    struct mmsghdr *messages;
    unsigned count;
    struct iovec piece;
    uint8_t packet[HEADER + PAYLOAD];
};
struct part {
    pthread_t thread;
    unsigned first, count, number;
    unsigned long long sent, failed;
};

static int fd, slots;
static uint32_t first_address;
static uint16_t to_port;
static volatile int over;

static void send_all(struct slot *slot, struct part *part) {
    for (unsigned done = 0; done < slot->count;) {
        unsigned left = slot->count - done;
        int sent = sendmmsg(fd, slot->messages + done, left < MOST ? left : MOST, 0);
        if (sent > 0) {
            done += (unsigned)sent;
            part->sent += (unsigned)sent;
        } else if (errno != EINTR) {
            done++;
            part->failed++;
        }
    }
}

static void *pace(void *argument) {
    struct part *part = argument;
    struct slot *all = calloc((size_t)slots, sizeof *all);
    for (int s = 0; s < slots; s++) {
        unsigned from = (unsigned)((uint64_t)part->count * (unsigned)s / (unsigned)slots);
        unsigned to = (unsigned)((uint64_t)part->count * (unsigned)(s + 1) / (unsigned)slots);
        struct slot *slot = &all[s];
        uint32_t ssrc = htonl((uint32_t)(rand() ^ s << 20 ^ (int)part->number << 28));
        slot->count = to - from;
        slot->messages = calloc(slot->count + 1, sizeof *slot->messages);
        struct sockaddr_in *names = calloc(slot->count + 1, sizeof *names);
        slot->piece = (struct iovec){slot->packet, sizeof slot->packet};
        for (int k = 0; k < PAYLOAD; k++) slot->packet[HEADER + k] = (uint8_t)(k * 37); /* any sound */
        slot->packet[0] = 0x80;
        memcpy(slot->packet + 8, &ssrc, 4);
        for (unsigned i = 0; i < slot->count; i++) {
            names[i] = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(to_port),
                                            .sin_addr.s_addr = htonl(first_address + part->first + from + i)};
            slot->messages[i].msg_hdr = (struct msghdr){.msg_name = &names[i], .msg_namelen = sizeof names[i],
                                                        .msg_iov = &slot->piece, .msg_iovlen = 1};
        }
    }
    struct timespec due;
    clock_gettime(CLOCK_MONOTONIC, &due);
    int64_t origin = (int64_t)due.tv_sec * 1000000000 + due.tv_nsec + PERIOD_NS + part->number * SHIFT_NS;
    for (uint32_t tick = 0; !over; tick++)
        for (int s = 0; s < slots && !over; s++) {
            struct slot *slot = &all[s];
            if (!slot->count) continue;
            int64_t at = origin + (int64_t)tick * PERIOD_NS + (int64_t)s * (PERIOD_NS / slots);
            uint16_t sequence = htons((uint16_t)tick);
            uint32_t timestamp = htonl(tick * PAYLOAD);
            memcpy(slot->packet + 2, &sequence, 2);
            memcpy(slot->packet + 4, &timestamp, 4);
            due = (struct timespec){at / 1000000000, at % 1000000000};
            while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR) {}
            send_all(slot, part);
        }
    return NULL;
}

int main(int argc, char **argv) {
    struct sockaddr_in local = {.sin_family = AF_INET};
    struct in_addr first;
    if (argc != 8 || !inet_aton(argv[1], &local.sin_addr) || !inet_aton(argv[3], &first)) {
        fprintf(stderr, "usage: send LOCAL LOCAL_PORT FIRST COUNT PORT SLOTS THREADS\n");
        return 2;
    }
    int buffer = 1 << 22, on = 1, service = 46 << 2, threads = atoi(argv[7]);
    unsigned count = (unsigned)atoi(argv[4]);
    local.sin_port = htons((uint16_t)atoi(argv[2]));
    first_address = ntohl(first.s_addr);
    to_port = (uint16_t)atoi(argv[5]);
    slots = atoi(argv[6]);
    if (slots < 1 || PERIOD_NS % slots || threads < 1 || threads > MOST_THREADS) {
        fprintf(stderr, "send: SLOTS %d, THREADS %d; expected a part of 20,000,000 and 1 to 64\n", slots, threads);
        return 2;
    }
    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    setsockopt(fd, IPPROTO_IP, IP_TOS, &service, sizeof service);
    setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof on);
    if (fd < 0 || bind(fd, (struct sockaddr *)&local, sizeof local)) {
        perror("send");
        return 1;
    }
    srand((unsigned)time(NULL));
    printf("ready\n");
    fflush(stdout);
    char line[64];
    if (read(0, line, sizeof line) <= 0) return 0;
    static struct part parts[MOST_THREADS];
    for (int t = 0; t < threads; t++) {
        unsigned from = (unsigned)((uint64_t)count * (unsigned)t / (unsigned)threads);
        unsigned to = (unsigned)((uint64_t)count * (unsigned)(t + 1) / (unsigned)threads);
        parts[t].first = from;
        parts[t].count = to - from;
        parts[t].number = (unsigned)t;
        if (pthread_create(&parts[t].thread, NULL, pace, &parts[t])) {
            perror("send");
            return 1;
        }
    }
    while (read(0, line, sizeof line) > 0) {}
    over = 1;
    unsigned long long sent = 0, failed = 0;
    for (int t = 0; t < threads; t++) {
        pthread_join(parts[t].thread, NULL);
        sent += parts[t].sent;
        failed += parts[t].failed;
    }
    printf("sent %llu failed %llu\n", sent, failed);
    return 0;
}
