import Foundation
import RIDCore

/// What app and share extension have in common.
enum AppGroup {
    /// Also in both entitlements files.
    static let identifier = "group.org.rid.demo"

    /// Photos on their way. Without the group (an unsigned build) each process has its own.
    static let vault: PhotoVault = {
        let files = FileManager.default
        let folder =
            files.containerURL(forSecurityApplicationGroupIdentifier: identifier)
            ?? files.urls(for: .applicationSupportDirectory, in: .userDomainMask)[0]
        return PhotoVault(folder: folder.appendingPathComponent("photos", isDirectory: true))
    }()
}
