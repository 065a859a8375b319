// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "kube/api/frames.h"
#include "kube/decode.h"

namespace weir::kube::api {

/// metav1.Status: why the API server did not do something.
struct Status {
    int code = 0;
    std::string reason;   ///< "Expired"
    std::string message;  ///< for people; bounded
    std::optional<std::chrono::seconds> retry_after;
};

struct Item {
    DecodedObject decoded;
    std::string resource_version;
};

enum class EventType : uint8_t { kAdded, kModified, kDeleted, kBookmark, kError };

/// One frame of a watch.
struct WatchEvent {
    EventType type = EventType::kError;
    Item item;                     ///< of the first three
    std::string resource_version;  ///< of all but kError
    bool initial_end = false;      ///< a bookmark: all that there was has been sent
    Status status;                 ///< of kError
};

/// One page of a list.
struct ListPage {
    std::vector<Item> items;
    std::string resource_version;
    std::string next;  ///< continue token; "" on the last page
};

/// Fail if the bytes are not what the API server writes for `kind`; an object that is well-formed
/// and breaks the API's rules is no failure but told by its item.
Result<WatchEvent> read_watch_event(Encoding encoding, Kind kind, std::string_view frame,
                                    TextPool& pool);
Result<ListPage> read_list(Encoding encoding, Kind kind, std::string_view body, TextPool& pool);
/// The Status of a refusal, as much of it as can be read; `code` is that of HTTP.
Status read_status(Encoding encoding, int code, std::string_view body);
/// True if a discovery document (APIResourceList in JSON) names the resource.
Result<bool> offers_resource(std::string_view body, std::string_view plural);

}  // namespace weir::kube::api
