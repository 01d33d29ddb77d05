/*
 * Makes the floods of bench/attack/floods.py, at a steady rate.
 *
 *   flood udp|tcp|pipe HOST PORT FIRST COUNT RATE SECONDS FILE
 *
 * It sends to HOST:PORT from the COUNT addresses from FIRST on, in turn. All of them have to be addresses of this
 * machine; a local route to the loopback is enough.
 *
 * "udp" sends the datagram in FILE, RATE times a second, from port 5060. Each "########" in it becomes the number of the
 * datagram. Answers are counted and discarded.
 *
 * "tcp" opens RATE connections a second, each from the next address. It sends FILE on every second connection and nothing
 * on the others. It closes a connection only after the other end has closed it.
 *
 * "pipe" keeps TCP connections open: 16 from one address, or one from each of up to 112 addresses. A closed connection
 * is opened again. It sends FILE over the connections in turn, RATE times a second in all, without waiting for answers.
 * A message that a connection does not accept, because its send buffer is full, is left out.
 *
 * A message that this machine has no time to send is left out, too, so that no burst follows. The program ends after
 * SECONDS, or when its standard input is closed, and then prints one line of JSON.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
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

enum { BATCH = 64, LONGEST = 65507, MARK = 8, MARKS = 32, MOST_OPEN = 8192, SLOT_MS = 1, BEHIND_MS = 20 };
enum { PIPES_OF_ONE = 16, PIPES_OF_MANY = 112 };

static char text[LONGEST];
static size_t length, marks[MARKS], marked;
static uint32_t first, count;
static struct sockaddr_in server = {.sin_family = AF_INET};
static uint64_t sent, sent_octets, skipped, failed, answers, answer_octets, opened, closed;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int read_template(const char *path) {
    int fd = open(path, O_RDONLY);
    if (fd < 0) return -1;
    for (ssize_t got; (got = read(fd, text + length, LONGEST - length)) > 0;) length += (size_t)got;
    close(fd);
    for (char *at = text; marked < MARKS && (at = memmem(at, length - (size_t)(at - text), "########", MARK)); at += MARK)
        marks[marked++] = (size_t)(at - text);
    return 0;
}

static int on_udp(void) {
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(5060)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), buffer = 4 << 20;
    if (fd < 0 || bind(fd, (struct sockaddr *)&any, sizeof any)) return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer))
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    return fd;
}

static void send_some(int fd, uint64_t wanted) {
    static char copies[BATCH][LONGEST];
    static int ready;
    static struct { struct cmsghdr head; struct in_pktinfo info; char room[8]; } control[BATCH];
    static struct iovec pieces[BATCH];
    static struct mmsghdr batch[BATCH];
    if (!ready) {
        for (int i = 0; i < BATCH; i++) memcpy(copies[i], text, length);
        ready = 1;
    }
    while (wanted) {
        unsigned some = wanted < BATCH ? (unsigned)wanted : BATCH;
        for (unsigned i = 0; i < some; i++) {
            char number[MARK + 1];
            uint32_t which = (uint32_t)(sent + failed + i);
            snprintf(number, sizeof number, "%08x", which);
            for (size_t k = 0; k < marked; k++) memcpy(copies[i] + marks[k], number, MARK);
            memset(&control[i], 0, sizeof control[i]);
            control[i].head.cmsg_len = CMSG_LEN(sizeof control[i].info);
            control[i].head.cmsg_level = IPPROTO_IP;
            control[i].head.cmsg_type = IP_PKTINFO;
            control[i].info.ipi_spec_dst.s_addr = htonl(first + which % count);
            pieces[i] = (struct iovec){copies[i], length};
            batch[i].msg_hdr = (struct msghdr){.msg_name = &server, .msg_namelen = sizeof server,
                                               .msg_iov = &pieces[i], .msg_iovlen = 1, .msg_control = &control[i],
                                               .msg_controllen = CMSG_SPACE(sizeof control[i].info)};
        }
        int done = sendmmsg(fd, batch, some, 0);
        if (done <= 0) {
            failed += wanted;
            return;
        }
        sent += (uint64_t)done;
        sent_octets += (uint64_t)done * length;
        wanted -= (uint64_t)done;
    }
}

static void count_answers(int fd) {
    static char octets[BATCH][64];
    static struct iovec pieces[BATCH];
    static struct mmsghdr batch[BATCH];
    for (int got = BATCH; got == BATCH;) {
        for (int i = 0; i < BATCH; i++) {
            pieces[i] = (struct iovec){octets[i], sizeof octets[i]};
            batch[i].msg_hdr = (struct msghdr){.msg_iov = &pieces[i], .msg_iovlen = 1};
        }
        got = recvmmsg(fd, batch, BATCH, MSG_DONTWAIT | MSG_TRUNC, NULL);
        for (int i = 0; i < got; i++, answers++) answer_octets += batch[i].msg_len;
    }
}

/* Start to open a connection from address number ``which``. Return its descriptor, or -1 if the system gives none. */
static int from_address(uint32_t which) {
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(first + which % count)};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    int bad = bind(fd, (struct sockaddr *)&from, sizeof from);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    if (bad || (connect(fd, (struct sockaddr *)&server, sizeof server) && errno != EINPROGRESS)) {
        close(fd);
        return -1;
    }
    return fd; /* on the loopback the connection is open at once, or the backlog of the other end is full */
}

static void open_some(int poll_fd, uint64_t wanted) {
    for (; wanted && opened - closed < MOST_OPEN; wanted--) {
        int fd = from_address((uint32_t)opened);
        struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.fd = fd};
        if (fd < 0 || epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &event)) {
            failed++;
            if (fd >= 0) close(fd);
            continue;
        }
        if (opened++ % 2 == 0 && send(fd, text, length, MSG_NOSIGNAL) > 0) sent_octets += length;
        sent++;
    }
    skipped += wanted;
}

static void close_some(int poll_fd) {
    struct epoll_event events[BATCH];
    char octets[4096];
    for (int got = BATCH; got == BATCH;) {
        got = epoll_wait(poll_fd, events, BATCH, 0);
        for (int i = 0; i < got; i++) {
            ssize_t came = read(events[i].data.fd, octets, sizeof octets);
            if (came > 0) {
                answers++;
                answer_octets += (uint64_t)came;
            } else if (came == 0 || (errno != EAGAIN && errno != EINTR)) {
                close(events[i].data.fd);
                closed++;
            }
        }
    }
}

static void pipe_some(uint64_t wanted) {
    static struct { int fd; size_t at; } pipes[PIPES_OF_MANY];
    static unsigned turn;
    char octets[65536];
    unsigned all = count == 1 ? PIPES_OF_ONE : count < PIPES_OF_MANY ? count : PIPES_OF_MANY;
    for (unsigned i = 0; i < all; i++) {
        ssize_t came = 0;
        for (int k = 0; pipes[i].fd && k < BATCH && (came = read(pipes[i].fd, octets, sizeof octets)) > 0; k++) {
            answer_octets += (uint64_t)came;
            for (char *at = octets; (at = memmem(at, (size_t)(octets + came - at), "SIP/2.0 2", 9)); at++) answers++;
        }
        if (pipes[i].fd && (came > 0 || (came < 0 && (errno == EAGAIN || errno == EINTR)))) continue;
        if (pipes[i].fd) {
            close(pipes[i].fd);
            closed++;
        }
        pipes[i].at = 0;
        if ((pipes[i].fd = from_address(i)) < 0) pipes[i].fd = 0, failed++;
    }
    for (unsigned stuck = 0; wanted && stuck < all; turn++) {
        unsigned i = turn % all;
        if (!pipes[i].at) { /* the connection begins a new message, with the next number */
            char number[MARK + 1];
            snprintf(number, sizeof number, "%08x", (uint32_t)sent);
            for (size_t k = 0; k < marked; k++) memcpy(text + marks[k], number, MARK);
        }
        ssize_t gone = pipes[i].fd ? send(pipes[i].fd, text + pipes[i].at, length - pipes[i].at, MSG_NOSIGNAL) : -1;
        if (gone < 0) {
            stuck++;
            continue;
        }
        sent_octets += (uint64_t)gone;
        pipes[i].at += (size_t)gone;
        if (pipes[i].at < length) {
            stuck++;
            continue;
        }
        pipes[i].at = stuck = 0;
        sent++;
        wanted--;
    }
    skipped += wanted;
}

int main(int argc, char **argv) {
    struct in_addr from;
    if (argc != 9 || !inet_aton(argv[2], &server.sin_addr) || !inet_aton(argv[4], &from) || read_template(argv[8])) {
        fprintf(stderr, "usage: flood udp|tcp|pipe HOST PORT FIRST COUNT RATE SECONDS FILE\n");
        return 2;
    }
    int tcp = !strcmp(argv[1], "tcp"), piped = !strcmp(argv[1], "pipe"), udp = !tcp && !piped;
    double rate = atof(argv[6]), seconds = atof(argv[7]);
    server.sin_port = htons((uint16_t)atoi(argv[3]));
    first = ntohl(from.s_addr);
    count = (uint32_t)atoi(argv[5]);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    int fd = udp ? on_udp() : epoll_create1(EPOLL_CLOEXEC);
    if (fd < 0 || !count || rate < 1) {
        perror("flood");
        return 1;
    }
    double began = now(), behind = rate * BEHIND_MS / 1000;
    uint64_t done = 0;
    for (double t = began; t < began + seconds; t = now()) {
        uint64_t due = (uint64_t)((t - began) * rate);
        if ((double)(due - done) > behind) {
            skipped += due - done - (uint64_t)behind;
            done = due - (uint64_t)behind;
        }
        if (tcp) {
            open_some(fd, due - done);
            close_some(fd);
        } else if (piped) {
            pipe_some(due - done);
        } else {
            send_some(fd, due - done);
            count_answers(fd);
        }
        done = due;
        char input_text[64];
        struct pollfd input = {.fd = 0, .events = POLLIN};
        if (poll(&input, 1, SLOT_MS) && read(0, input_text, sizeof input_text) <= 0) break;
    }
    double lasted = now() - began;
    for (int i = 0; i < 100 && udp; i++) { /* count the answers that are still on their way */
        usleep(10000);
        count_answers(fd);
    }
    printf("{\"seconds\": %.3f, \"sent\": %llu, \"sent_octets\": %llu, \"skipped\": %llu, \"failed\": %llu, "
           "\"answers\": %llu, \"answer_octets\": %llu, \"closed\": %llu}\n",
           lasted, (unsigned long long)sent, (unsigned long long)sent_octets, (unsigned long long)skipped,
           (unsigned long long)failed, (unsigned long long)answers, (unsigned long long)answer_octets,
           (unsigned long long)closed);
    return 0;
}
