// SPDX-License-Identifier: Apache-2.0
#include "datapath/netlink/message.h"

#include <new>

#include <netlink/attr.h>
#include <netlink/msg.h>

namespace weir::netlink {
namespace {

/// The largest request of ours (a veth with both ends) takes about 300 bytes.
constexpr size_t kMessageSize = 1024;

}  // namespace

std::string to_string(const MacAddress& mac) {
    return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", mac[0], mac[1], mac[2], mac[3],
                       mac[4], mac[5]);
}

void Message::Free::operator()(nl_msg* message) const {
    nlmsg_free(message);
}

Message::Message(uint16_t type, uint16_t flags, std::string what)
    : message_(nlmsg_alloc_size(kMessageSize)), what_(std::move(what)) {
    if (message_ == nullptr) throw std::bad_alloc();
    nlmsg_put(message_.get(), 0, 0, type, 0, flags | NLM_F_REQUEST | NLM_F_ACK);
}

nlmsghdr* Message::raw_header() const {
    return nlmsg_hdr(message_.get());
}

Message& Message::append(const void* data, size_t size) {
    // nlmsg_append takes a pointer to non-const that it only reads.
    if (nlmsg_append(message_.get(), const_cast<void*>(data), size, NLMSG_ALIGNTO) < 0) {
        overflowed_ = true;
    }
    return *this;
}

Message& Message::put(uint16_t attribute, const void* data, size_t size) {
    if (nla_put(message_.get(), attribute, static_cast<int>(size), data) < 0) overflowed_ = true;
    return *this;
}

Message& Message::put_u8(uint16_t attribute, uint8_t value) {
    return put(attribute, &value, sizeof value);
}

Message& Message::put_u32(uint16_t attribute, uint32_t value) {
    return put(attribute, &value, sizeof value);
}

Message& Message::put_string(uint16_t attribute, std::string_view text) {
    const std::string terminated(text);
    return put(attribute, terminated.c_str(), terminated.size() + 1);
}

Message& Message::put_address(uint16_t attribute, const IpAddress& address) {
    const auto& bytes = address.bytes();
    if (address.is_v4()) return put(attribute, bytes.data() + 12, 4);
    return put(attribute, bytes.data(), bytes.size());
}

Message& Message::put_mac(uint16_t attribute, const MacAddress& mac) {
    return put(attribute, mac.data(), mac.size());
}

nlattr* Message::begin_nest(uint16_t attribute) {
    nlattr* start = nla_nest_start(message_.get(), attribute | NLA_F_NESTED);
    if (start == nullptr) overflowed_ = true;
    return start;
}

void Message::end_nest(nlattr* start) {
    if (start != nullptr && nla_nest_end_keep_empty(message_.get(), start) < 0) overflowed_ = true;
}

Attributes::Attributes(const nlmsghdr* message, size_t header_size) {
    const int size = nlmsg_attrlen(message, static_cast<int>(header_size));
    if (size > 0) index(nlmsg_attrdata(message, static_cast<int>(header_size)), size);
}

Attributes::Attributes(const nlattr* nest) {
    if (nest == nullptr) return;
    index(static_cast<const nlattr*>(nla_data(nest)), nla_len(nest));
}

void Attributes::index(const nlattr* first, int size) {
    for (const nlattr* at = first; nla_ok(at, size); at = nla_next(at, &size)) {
        const auto type = static_cast<size_t>(nla_type(at));
        if (type < kMaxType) by_type_[type] = at;
    }
}

const nlattr* Attributes::find(uint16_t type) const {
    return type < kMaxType ? by_type_[type] : nullptr;
}

std::optional<uint8_t> Attributes::u8(uint16_t type) const {
    const nlattr* at = find(type);
    if (at == nullptr || nla_len(at) < 1) return std::nullopt;
    return *static_cast<const uint8_t*>(nla_data(at));
}

std::optional<uint32_t> Attributes::u32(uint16_t type) const {
    const nlattr* at = find(type);
    if (at == nullptr || nla_len(at) < 4) return std::nullopt;
    uint32_t value = 0;
    std::memcpy(&value, nla_data(at), sizeof value);
    return value;
}

std::string Attributes::text(uint16_t type) const {
    const nlattr* at = find(type);
    if (at == nullptr) return {};
    const std::string_view bytes(static_cast<const char*>(nla_data(at)),
                                 static_cast<size_t>(nla_len(at)));
    return std::string(bytes.substr(0, bytes.find('\0')));
}

std::optional<IpAddress> Attributes::address(uint16_t type) const {
    const nlattr* at = find(type);
    if (at == nullptr) return std::nullopt;
    std::array<uint8_t, 16> bytes{};
    if (nla_len(at) == 4) {
        bytes[10] = bytes[11] = 0xff;
        std::memcpy(bytes.data() + 12, nla_data(at), 4);
    } else if (nla_len(at) == 16) {
        std::memcpy(bytes.data(), nla_data(at), 16);
    } else {
        return std::nullopt;
    }
    return IpAddress::from_bytes(bytes);
}

std::optional<MacAddress> Attributes::mac(uint16_t type) const {
    const nlattr* at = find(type);
    if (at == nullptr || nla_len(at) != 6) return std::nullopt;
    MacAddress mac{};
    std::memcpy(mac.data(), nla_data(at), mac.size());
    return mac;
}

}  // namespace weir::netlink
