// Stand-in, not Apple's: the few types that the demo names.
@_exported import Foundation

public struct UTType: Sendable, Hashable {
    public let identifier: String
    public static let image = UTType(identifier: "public.image")
    public static let heic = UTType(identifier: "public.heic")
    public static let jpeg = UTType(identifier: "public.jpeg")
    public static let png = UTType(identifier: "public.png")
    public static let json = UTType(identifier: "public.json")
}

// The rest is part of Foundation on Apple systems.

public final class NSItemProvider {
    public func hasItemConformingToTypeIdentifier(_ type: String) -> Bool { false }
    public func loadFileRepresentation(
        forTypeIdentifier type: String,
        completionHandler: @escaping @Sendable (URL?, (any Error)?) -> Void
    ) -> Progress { Progress(totalUnitCount: 1) }
}
extension FileManager {
    public func containerURL(forSecurityApplicationGroupIdentifier group: String) -> URL? { nil }
}
