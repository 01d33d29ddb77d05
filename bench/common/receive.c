/* Receives RTP on many ports and records the arrival of each packet by the kernel's clock.
 *
 *   receive HOST FIRST COUNT SECONDS FILE
 *
 * The program binds COUNT pairs of UDP ports of HOST (an IPv4 address), from FIRST on, and skips ports that are in use.
 * The even port of a pair receives RTP; the odd one above receives RTCP and discards it. Then the program prints
 * "ports P P P ...". It ends when its standard input is closed, after SECONDS at the latest. Then it prints "dropped
 * N", where N is the number of packets that found a full buffer.
 *
 * FILE gets 20 octets for each RTP packet, in the byte order of this machine:
 *   int64 arrival in ns since 1970 | uint32 timestamp | uint32 SSRC | uint16 index of the port | uint16 sequence number
 *
 * The program reads only every 10 ms: the kernel stamps the packets, so no sender pays for waking it each time.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 32, LONGEST = 2048, LOOK_MS = 10, RTP_HEADER = 12 };

static uint8_t octets[BATCH][LONGEST];
static union { char room[128]; struct cmsghdr aligned; } control[BATCH];
static struct iovec pieces[BATCH];
static struct mmsghdr batch[BATCH];

static int bound(const char *host, int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int on = 1, buffer = 1 << 20;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1 || bind(fd, (struct sockaddr *)&address, sizeof address)) {
        close(fd);
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof on);
    return fd;
}

static void keep(FILE *file, uint16_t index, struct mmsghdr *message, const uint8_t *packet, uint32_t *dropped) {
    struct timespec stamp = {0, 0};
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message->msg_hdr); c; c = CMSG_NXTHDR(&message->msg_hdr, c)) {
        if (c->cmsg_level != SOL_SOCKET) continue;
        if (c->cmsg_type == SCM_TIMESTAMPNS) memcpy(&stamp, CMSG_DATA(c), sizeof stamp);
        if (c->cmsg_type == SO_RXQ_OVFL) memcpy(dropped, CMSG_DATA(c), sizeof *dropped);
    }
    if (message->msg_len < RTP_HEADER || packet[0] >> 6 != 2 || !stamp.tv_sec) return;
    struct { int64_t arrival; uint32_t timestamp, ssrc; uint16_t index, sequence; } __attribute__((packed)) record;
    uint16_t two;
    uint32_t four;
    record.arrival = (int64_t)stamp.tv_sec * 1000000000 + stamp.tv_nsec;
    memcpy(&four, packet + 4, 4);
    record.timestamp = ntohl(four);
    memcpy(&four, packet + 8, 4);
    record.ssrc = ntohl(four);
    memcpy(&two, packet + 2, 2);
    record.sequence = ntohs(two);
    record.index = index;
    fwrite(&record, sizeof record, 1, file);
}

/* Read all packets of one socket. Index -1 stands for RTCP: those packets are discarded. */
static void read_all(int fd, int index, FILE *file, uint32_t *dropped) {
    for (;;) {
        for (int i = 0; i < BATCH; i++) {
            pieces[i] = (struct iovec){octets[i], LONGEST};
            batch[i].msg_hdr = (struct msghdr){.msg_iov = &pieces[i], .msg_iovlen = 1,
                                               .msg_control = &control[i], .msg_controllen = sizeof control[i]};
        }
        int count = recvmmsg(fd, batch, BATCH, MSG_DONTWAIT, NULL);
        for (int i = 0; index >= 0 && i < count; i++) keep(file, (uint16_t)index, &batch[i], octets[i], dropped);
        if (count < BATCH) return;
    }
}

int main(int argc, char **argv) {
    if (argc != 6) {
        fprintf(stderr, "usage: receive HOST FIRST COUNT SECONDS FILE\n");
        return 2;
    }
    int port = atoi(argv[2]), count = atoi(argv[3]), taken = 0;
    double seconds = atof(argv[4]);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    FILE *file = fopen(argv[5], "wb");
    int ready = epoll_create1(EPOLL_CLOEXEC);
    int *sockets = calloc((size_t)count * 2 + 1, sizeof *sockets);
    uint32_t *dropped = calloc((size_t)count + 1, sizeof *dropped);
    if (!file || ready < 0 || !sockets || !dropped) {
        perror("receive");
        return 1;
    }
    printf("ports");
    for (; taken < count && port < 65535; port += 2) {
        int rtp = bound(argv[1], port), rtcp = rtp < 0 ? -1 : bound(argv[1], port + 1);
        if (rtcp < 0) {
            if (rtp >= 0) close(rtp);
            continue;
        }
        sockets[2 * taken] = rtp;
        sockets[2 * taken + 1] = rtcp;
        for (int i = 2 * taken; i < 2 * taken + 2; i++) {
            struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
            if (epoll_ctl(ready, EPOLL_CTL_ADD, sockets[i], &event)) perror("receive");
        }
        taken++;
        printf(" %d", port);
    }
    printf("\n");
    fflush(stdout);
    if (taken < count) {
        fprintf(stderr, "receive: %d free pairs of ports of %s, %d wanted\n", taken, argv[1], count);
        return 1;
    }
    struct timespec began, now;
    clock_gettime(CLOCK_MONOTONIC, &began);
    for (int last = 0; !last;) {
        struct pollfd input = {.fd = 0, .events = POLLIN};
        struct epoll_event events[256];
        int found;
        last = poll(&input, 1, LOOK_MS) != 0;
        clock_gettime(CLOCK_MONOTONIC, &now);
        last |= (double)(now.tv_sec - began.tv_sec) + (double)(now.tv_nsec - began.tv_nsec) / 1e9 > seconds;
        do {
            found = epoll_wait(ready, events, 256, 0);
            for (int i = 0; i < found; i++) {
                int which = (int)events[i].data.u32;
                read_all(sockets[which], which % 2 ? -1 : which / 2, file, &dropped[which / 2]);
            }
        } while (found == 256);
    }
    unsigned long long lost = 0;
    for (int i = 0; i < count; i++) lost += dropped[i];
    printf("dropped %llu\n", lost);
    return fclose(file) ? 1 : 0;
}
