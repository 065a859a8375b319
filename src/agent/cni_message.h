// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/value.hpp>

#include "agent/pod_wirer.h"
#include "common/cni_protocol.h"

/// The agent's half of the CNI protocol: requests in, results and errors out. For the CNI service
/// only; others need not see JSON.
namespace weir::agent {

struct CniFailure {
    cni::Code code;
    std::string message;
};
template <typename T = void>
using CniOutcome = tl::expected<T, CniFailure>;

template <typename... Args>
[[nodiscard]] tl::unexpected<CniFailure> refuse(cni::Code code, fmt::format_string<Args...> format,
                                                Args&&... args) {
    return tl::unexpected(CniFailure{code, fmt::format(format, std::forward<Args>(args)...)});
}

/// Body of a request; fields that an operation does not have are empty.
struct CniRequest {
    ipam::Claim claim;  ///< container, interface, network, namespace, pod, requested addresses
    boost::json::object dns;
    std::optional<boost::json::object> previous;  ///< prevResult
    std::optional<std::set<ipam::AttachmentKey>> valid_attachments;
};

/// kDecode if the body is not what the plugin sends, kConfig or kEnvironment for a requested
/// address that is none.
CniOutcome<CniRequest> decode_cni_request(std::string_view body);

/// CNI 1.1.0 result of an ADD.
std::string encode_cni_result(const ipam::Record& record, const Wired& wired,
                              const boost::json::object& dns);
/// {"code", "msg"}.
std::string encode_cni_failure(const CniFailure& failure);

/// CNI spec 1.1.0, CHECK: what ADD answered and is recorded must be in prevResult; what other
/// plugins added may be there too.
CniOutcome<void> compare_with_previous(const ipam::Record& record,
                                       const boost::json::object& previous);

}  // namespace weir::agent
