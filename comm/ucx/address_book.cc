#include "comm/ucx/address_book.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <list>
#include <random>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"
#include "base/clock.h"
#include "base/status.h"

namespace alpa::comm {
namespace {

constexpr absl::string_view kAsk = "ALPAUCX1", kEnd = "ALPAEND1";
constexpr size_t kQuestionBytes = 24;
// These values of an answer's size field mean that no address follows.
constexpr uint32_t kNotOpen = 0, kClosing = 0xfffffffcu, kAbandoned = 0xfffffffdu, kAborted = 0xfffffffeu,
                   kWrongProcess = 0xffffffffu;
// The number of ended epochs that the book remembers. Epochs are never reused, so the book only has to remember epochs
// that a peer may still be opening.
constexpr size_t kEndsRemembered = 1024;
// Limits on the resources that other processes can occupy in this process. kMaxAddressBytes limits the size of one UCX
// address, and kMaxVisitors limits the number of open connections of visitors.
constexpr uint32_t kMaxAddressBytes = 64 << 10;
constexpr size_t kMaxVisitors = 256;
// Time limits. kPatience is the time that a visitor has to send its question. kNotifyTimeout limits one complete call
// of NotifyAborted.
constexpr std::chrono::milliseconds kPatience{1000}, kNotifyTimeout{300};
// The number of sockets that NotifyAborted connects at a time.
constexpr size_t kDialsAtOnce = 64;

struct Question {
  Question() = default;
  Question(absl::string_view what, uint64_t nonce, uint64_t epoch) : nonce(nonce), epoch(epoch) {
    std::memcpy(word, what.data(), sizeof(word));
  }
  bool Is(absl::string_view what) const { return absl::string_view(word, sizeof(word)) == what; }

  char word[8];
  uint64_t nonce, epoch;
};
static_assert(sizeof(Question) == kQuestionBytes);

std::string Framed(uint32_t size, const std::string& text) {
  return std::string(reinterpret_cast<const char*>(&size), sizeof(size)) + text;
}

class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {}
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  Socket(Socket&& other) : fd_(std::exchange(other.fd_, -1)) {}
  int fd() const { return fd_; }

 private:
  int fd_;
};

absl::StatusOr<sockaddr_in> Resolve(const std::string& host, uint16_t port) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_STREAM;
  if (const int error = getaddrinfo(host.c_str(), nullptr, &hints, &found); error != 0 || found == nullptr) {
    return absl::UnavailableError(absl::StrCat("cannot resolve \"", host, "\": ", gai_strerror(error)));
  }
  sockaddr_in address = *reinterpret_cast<sockaddr_in*>(found->ai_addr);
  freeaddrinfo(found);
  address.sin_port = htons(port);
  return address;
}

// Starts to connect a socket. The socket becomes writable when the connection is established or has failed. Returns an
// empty Socket (-1) if the connection fails at once.
Socket Dial(const ProcessAddress& address) {
  sockaddr_in target{};
  target.sin_family = AF_INET;
  target.sin_port = htons(address.port);
  target.sin_addr.s_addr = address.ipv4;
  Socket socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (socket.fd() >= 0 && connect(socket.fd(), reinterpret_cast<const sockaddr*>(&target), sizeof(target)) != 0 &&
      errno != EINPROGRESS) {
    return Socket(-1);
  }
  return socket;
}

int MillisTo(MonotonicTime deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::Real().Now()).count();
  return left < 0 ? 0 : static_cast<int>(left);
}

// Waits until the socket is ready for `events`. Returns false if `cancel` becomes readable or `deadline` passes first.
bool Ready(int fd, short events, int cancel, MonotonicTime deadline) {
  for (;;) {
    pollfd fds[2] = {{fd, events, 0}, {cancel, POLLIN, 0}};
    const int n = poll(fds, 2, MillisTo(deadline));
    if (n < 0 && errno == EINTR) continue;
    return n > 0 && fds[1].revents == 0;
  }
}

bool ReadAll(int fd, void* data, size_t size, int cancel, MonotonicTime deadline) {
  char* at = static_cast<char*>(data);
  while (size > 0) {
    if (!Ready(fd, POLLIN, cancel, deadline)) return false;
    const ssize_t n = recv(fd, at, size, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (n <= 0) return false;
    at += n;
    size -= static_cast<size_t>(n);
  }
  return true;
}

}  // namespace

// A connection whose question has not arrived completely yet.
struct AddressBook::Visitor {
  Visitor(int fd, MonotonicTime deadline) : socket(fd), deadline(deadline) {}
  Socket socket;
  MonotonicTime deadline;
  size_t received = 0;
  char question[kQuestionBytes];
};

absl::StatusOr<std::unique_ptr<AddressBook>> AddressBook::Listen(const std::string& host,
                                                                 const std::string& advertise) {
  std::unique_ptr<AddressBook> book(new AddressBook());
  ALPA_ASSIGN_OR_RETURN(sockaddr_in address, Resolve(host, 0));
  if (advertise.empty() && address.sin_addr.s_addr == htonl(INADDR_ANY)) {
    return InvalidArgument("cannot listen on %s without a host to advertise: peers cannot connect to that address",
                           host);
  }
  book->listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  book->wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  socklen_t size = sizeof(address);
  if (book->listener_ < 0 || book->wake_ < 0 ||
      bind(book->listener_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0 ||
      listen(book->listener_, 128) != 0 ||
      getsockname(book->listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    return absl::UnavailableError(absl::StrCat("cannot listen on ", host, ": ", std::strerror(errno)));
  }
  std::random_device random;
  book->nonce_ = (uint64_t{random()} << 32) | random();
  book->address_ =
      absl::StrFormat("%s:%d/%016x", advertise.empty() ? host : advertise, ntohs(address.sin_port), book->nonce_);
  book->server_ = std::thread([raw = book.get()] { raw->Serve(); });
  return book;
}

AddressBook::~AddressBook() {
  if (server_.joinable()) {
    const uint64_t one = 1;
    (void)!write(wake_, &one, sizeof(one));
    server_.join();
  }
  if (listener_ >= 0) close(listener_);
  if (wake_ >= 0) close(wake_);
}

bool AddressBook::Publish(uint64_t epoch, std::string ucx_address, int aborted_event) {
  MutexLock lock(mutex_);
  return epochs_.try_emplace(epoch, Entry{std::move(ucx_address), aborted_event}).second;
}

void AddressBook::Withdraw(uint64_t epoch, End end) {
  MutexLock lock(mutex_);
  epochs_.erase(epoch);
  std::erase_if(ended_, [&](const auto& entry) { return entry.first == epoch && entry.second == End::kClosing; });
  if (end == End::kDone) return;
  ended_.emplace_back(epoch, end);
  if (ended_.size() > kEndsRemembered) ended_.pop_front();
}

void AddressBook::Serve() {
  std::list<Visitor> visitors;
  for (;;) {
    std::vector<pollfd> fds = {{wake_, POLLIN, 0},
                               {listener_, static_cast<short>(visitors.size() < kMaxVisitors ? POLLIN : 0), 0}};
    int timeout = -1;
    for (const Visitor& visitor : visitors) {
      fds.push_back({visitor.socket.fd(), POLLIN, 0});
      const int left = MillisTo(visitor.deadline);
      timeout = timeout < 0 ? left : std::min(timeout, left);
    }
    if (poll(fds.data(), fds.size(), timeout) < 0 && errno != EINTR) return;
    if (fds[0].revents != 0) return;
    const MonotonicTime now = Clock::Real().Now();
    size_t i = 2;
    for (auto visitor = visitors.begin(); visitor != visitors.end(); ++i) {
      const bool stays = visitor->deadline > now && (fds[i].revents == 0 || ReadQuestion(*visitor));
      visitor = stays ? std::next(visitor) : visitors.erase(visitor);
    }
    if (fds[1].revents == 0) continue;
    const int peer = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (peer >= 0) visitors.emplace_back(peer, now + kPatience);
  }
}

bool AddressBook::ReadQuestion(Visitor& visitor) {
  const ssize_t n =
      recv(visitor.socket.fd(), visitor.question + visitor.received, kQuestionBytes - visitor.received, MSG_DONTWAIT);
  if (n < 0) return errno == EAGAIN || errno == EINTR;
  if (n == 0) return false;
  visitor.received += static_cast<size_t>(n);
  if (visitor.received < kQuestionBytes) return true;
  Question question;
  std::memcpy(&question, visitor.question, sizeof(question));
  if (question.Is(kEnd) && question.nonce == nonce_) {
    MutexLock lock(mutex_);
    const uint64_t one = 1;
    if (auto found = epochs_.find(question.epoch); found != epochs_.end()) {
      (void)!write(found->second.aborted_event, &one, sizeof(one));
    }
  } else if (question.Is(kAsk)) {
    const std::string answer = question.nonce == nonce_ ? AnswerAbout(question.epoch) : Framed(kWrongProcess, "");
    // The answer is far smaller than a socket's buffer. A peer that receives only a part of the answer asks again.
    (void)send(visitor.socket.fd(), answer.data(), answer.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  }
  return false;
}

std::string AddressBook::AnswerAbout(uint64_t epoch) {
  MutexLock lock(mutex_);
  if (auto found = epochs_.find(epoch); found != epochs_.end()) {
    const std::string& address = found->second.ucx_address;
    return Framed(static_cast<uint32_t>(address.size()), address);
  }
  for (const auto& [ended, end] : ended_) {
    if (ended != epoch) continue;
    return Framed(end == End::kClosing ? kClosing : end == End::kAborted ? kAborted : kAbandoned, "");
  }
  return Framed(kNotOpen, "");
}

absl::StatusOr<ProcessAddress> ParseProcessAddress(const std::string& address) {
  const size_t slash = address.rfind('/');
  const size_t colon = address.rfind(':', slash);
  uint32_t port = 0;
  ProcessAddress result;
  if (slash == std::string::npos || colon == std::string::npos || colon == 0 ||
      !absl::SimpleAtoi(absl::string_view(address).substr(colon + 1, slash - colon - 1), &port) || port == 0 ||
      port > 65535 || !absl::SimpleHexAtoi(absl::string_view(address).substr(slash + 1), &result.nonce)) {
    return InvalidArgument("cannot parse the transport address \"%s\": expected host:port/nonce", address);
  }
  result.host = address.substr(0, colon);
  result.port = static_cast<uint16_t>(port);
  return result;
}

AddressAnswer AskAddress(ProcessAddress& address, uint64_t epoch, int cancel, Duration patience) {
  if (address.ipv4 == 0) {
    const absl::StatusOr<sockaddr_in> found = Resolve(address.host, address.port);
    if (!found.ok()) return {AddressAnswer::kNotOpen, ""};
    address.ipv4 = found->sin_addr.s_addr;
  }
  const Socket socket = Dial(address);
  const MonotonicTime deadline = Clock::Real().Now() + patience;
  if (socket.fd() < 0) return {AddressAnswer::kNotOpen, ""};
  if (!Ready(socket.fd(), POLLOUT, cancel, deadline)) return {AddressAnswer::kUnknown, ""};
  const Question question(kAsk, address.nonce, epoch);
  if (send(socket.fd(), &question, sizeof(question), MSG_NOSIGNAL) != sizeof(question)) {
    return {AddressAnswer::kNotOpen, ""};
  }
  uint32_t size = 0;
  if (!ReadAll(socket.fd(), &size, sizeof(size), cancel, deadline)) return {AddressAnswer::kUnknown, ""};
  switch (size) {
    case kNotOpen: return {AddressAnswer::kNotOpen, ""};
    case kClosing: return {AddressAnswer::kUnknown, ""};
    case kAbandoned: return {AddressAnswer::kAbandoned, ""};
    case kAborted: return {AddressAnswer::kAborted, ""};
    case kWrongProcess: return {AddressAnswer::kOtherProcess, ""};
    default: break;
  }
  AddressAnswer answer{AddressAnswer::kAddress, ""};
  if (size > kMaxAddressBytes) return {AddressAnswer::kOtherProcess, ""};
  answer.ucx_address.resize(size);
  if (!ReadAll(socket.fd(), answer.ucx_address.data(), size, cancel, deadline)) return {AddressAnswer::kUnknown, ""};
  return answer;
}

void NotifyAborted(const std::vector<ProcessAddress>& addresses, uint64_t epoch) {
  const MonotonicTime deadline = Clock::Real().Now() + kNotifyTimeout;
  for (size_t first = 0; first < addresses.size(); first += kDialsAtOnce) {
    const size_t last = std::min(addresses.size(), first + kDialsAtOnce);
    std::deque<Socket> sockets;   // these sockets connect at the same time
    for (size_t i = first; i < last; ++i) sockets.push_back(addresses[i].ipv4 != 0 ? Dial(addresses[i]) : Socket(-1));
    for (size_t i = first; i < last; ++i) {
      const int fd = sockets[i - first].fd();
      if (fd < 0 || !Ready(fd, POLLOUT, -1, deadline)) continue;
      const Question message(kEnd, addresses[i].nonce, epoch);
      (void)send(fd, &message, sizeof(message), MSG_NOSIGNAL | MSG_DONTWAIT);
    }
  }
}

}  // namespace alpa::comm
