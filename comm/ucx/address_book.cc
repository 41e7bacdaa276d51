#include "comm/ucx/address_book.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>

#include "base/status.h"

namespace alpa::comm {
namespace {

constexpr uint32_t kMaxAddressBytes = 64 << 10;
constexpr int kIoMillis = 1000;

bool ReadAll(int fd, void* data, size_t size, int millis) {
  char* at = static_cast<char*>(data);
  while (size > 0) {
    pollfd p{fd, POLLIN, 0};
    if (poll(&p, 1, millis) <= 0) return false;
    const ssize_t n = recv(fd, at, size, 0);
    if (n <= 0) return false;
    at += n;
    size -= static_cast<size_t>(n);
  }
  return true;
}

bool WriteAll(int fd, const void* data, size_t size) {
  const char* at = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t n = send(fd, at, size, MSG_NOSIGNAL);
    if (n <= 0) return false;
    at += n;
    size -= static_cast<size_t>(n);
  }
  return true;
}

absl::StatusOr<sockaddr_in> Resolve(const std::string& host, uint16_t port) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_STREAM;
  if (getaddrinfo(host.c_str(), nullptr, &hints, &found) != 0 || found == nullptr) {
    return absl::UnavailableError("cannot resolve " + host);
  }
  sockaddr_in address = *reinterpret_cast<sockaddr_in*>(found->ai_addr);
  freeaddrinfo(found);
  address.sin_port = htons(port);
  return address;
}

}  // namespace

absl::StatusOr<std::unique_ptr<AddressBook>> AddressBook::Listen(const std::string& host, const std::string& advertise) {
  std::unique_ptr<AddressBook> book(new AddressBook());
  ALPA_ASSIGN_OR_RETURN(sockaddr_in address, Resolve(host, 0));
  book->listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  book->wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  socklen_t size = sizeof(address);
  if (book->listener_ < 0 || book->wake_ < 0 ||
      bind(book->listener_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0 ||
      listen(book->listener_, 128) != 0 ||
      getsockname(book->listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    return absl::UnavailableError(absl::StrCat("cannot listen on ", host, ": ", std::strerror(errno)));
  }
  book->address_ = absl::StrCat(advertise.empty() ? host : advertise, ":", ntohs(address.sin_port));
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

void AddressBook::Publish(uint64_t epoch, std::string ucx_address) {
  MutexLock lock(mutex_);
  epochs_[epoch] = std::move(ucx_address);
}

void AddressBook::Withdraw(uint64_t epoch) {
  MutexLock lock(mutex_);
  epochs_.erase(epoch);
}

void AddressBook::Serve() {
  for (;;) {
    pollfd fds[2] = {{listener_, POLLIN, 0}, {wake_, POLLIN, 0}};
    if (poll(fds, 2, -1) < 0 && errno != EINTR) return;
    if (fds[1].revents != 0) return;
    if (fds[0].revents == 0) continue;
    const int peer = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (peer < 0) continue;
    uint64_t epoch = 0;
    // A peer that says nothing holds the others up for this long at most.
    if (ReadAll(peer, &epoch, sizeof(epoch), 200)) {
      std::string answer;
      {
        MutexLock lock(mutex_);
        if (auto found = epochs_.find(epoch); found != epochs_.end()) answer = found->second;
      }
      const uint32_t size = static_cast<uint32_t>(answer.size());
      if (WriteAll(peer, &size, sizeof(size))) (void)WriteAll(peer, answer.data(), answer.size());
    }
    close(peer);
  }
}

absl::StatusOr<std::string> AskAddress(const std::string& address, uint64_t epoch,
                                       const std::function<bool()>& cancelled) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) return InvalidArgument("transport address \"%s\" is not host:port", address);
  const int port = std::atoi(address.c_str() + colon + 1);
  if (port <= 0 || port > 65535) return InvalidArgument("transport address \"%s\" has no port", address);
  ALPA_ASSIGN_OR_RETURN(sockaddr_in target, Resolve(address.substr(0, colon), static_cast<uint16_t>(port)));
  while (!cancelled()) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return absl::UnavailableError(absl::StrCat("no socket: ", std::strerror(errno)));
    std::string answer;
    bool connected = connect(fd, reinterpret_cast<sockaddr*>(&target), sizeof(target)) == 0;
    if (!connected && errno == EINPROGRESS) {
      pollfd p{fd, POLLOUT, 0};
      int error = 0;
      socklen_t size = sizeof(error);
      connected = poll(&p, 1, kIoMillis) > 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
    }
    if (connected) {
      fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
      uint32_t size = 0;
      if (WriteAll(fd, &epoch, sizeof(epoch)) && ReadAll(fd, &size, sizeof(size), kIoMillis) && size > 0 &&
          size <= kMaxAddressBytes) {
        answer.resize(size);
        if (!ReadAll(fd, answer.data(), size, kIoMillis)) answer.clear();
      }
    }
    close(fd);
    if (!answer.empty()) return answer;
    std::this_thread::sleep_for(std::chrono::milliseconds(3));
  }
  return absl::CancelledError("the epoch was closed");
}

}  // namespace alpa::comm
