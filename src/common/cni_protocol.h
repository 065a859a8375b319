// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string_view>

/// What the CNI plugin and the agent agree on. Operations are `POST /v1/cni/<operation>` over the
/// agent's unix socket with a JSON body; the answer is a CNI 1.1.0 result with status 200 or an
/// object {code, msg, details} with another status.
namespace weir::cni {

/// Of the file that runtimes read. A low number: containerd takes the first of the directory only.
inline constexpr std::string_view kConflistName = "05-weir.conflist";
inline constexpr std::string_view kDefaultSocket = "/run/weir/agent.sock";
/// Where the plugin leaves DELs that no agent answered.
inline constexpr std::string_view kDefaultQueueDir = "/run/weir/cni-queue";
/// Of the DEL queue: held exclusively while an entry is written, compared or removed.
inline constexpr std::string_view kQueueLockName = "lock";
inline constexpr std::string_view kQueueSuffix = ".json";
inline constexpr size_t kQueueMaxEntries = 4096;
inline constexpr size_t kQueueMaxEntrySize = 64 * 1024;
/// Of stdin, of a request and of an answer.
inline constexpr size_t kMaxMessage = 1024 * 1024;
/// Longest container id: it is part of file names.
inline constexpr size_t kMaxContainerId = 100;

/// Error codes. Below 100: the CNI specification's; from 100 on: Weir's.
enum class Code : unsigned {
    kVersion = 1,         ///< incompatible CNI version
    kUnsupported = 2,     ///< unsupported field; the message has key and value
    kNoContainer = 3,     ///< container does not exist: nothing was made, no DEL is needed
    kEnvironment = 4,     ///< a necessary variable is wrong; the message names it
    kIo = 5,              ///< I/O failure
    kDecode = 6,          ///< content could not be decoded
    kConfig = 7,          ///< invalid network configuration
    kHostNetns = 8,       ///< CNI_NETNS is the host's own
    kTryLater = 11,       ///< transient
    kNotAvailable = 50,   ///< STATUS: no ADD possible
    kLimited = 51,        ///< STATUS: no ADD possible and existing pods' connectivity is limited
    kFailed = 100,        ///< an operation on the host failed
    kDuplicate = 101,     ///< ADD of an attachment that exists
    kExhausted = 102,     ///< no address is left
    kAddressInUse = 103,  ///< a requested address belongs to another pod
    kCheckFailed = 104,   ///< CHECK: the host does not look as the result says
    kGcIncomplete = 105,  ///< GC: some attachments could not be removed
};

}  // namespace weir::cni
