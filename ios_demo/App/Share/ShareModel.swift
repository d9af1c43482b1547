import Foundation
import Observation
import RIDCore
import RIDKit
import UniformTypeIdentifiers

/// Takes the shared photo into the vault, so that the app finds it if this extension cannot finish:
/// it gets some 120 MB of memory, which a 12-megapixel photo exceeds.
@MainActor
@Observable
final class ShareModel {
    private(set) var photo: PhotoModel?
    /// What went wrong, in words.
    private(set) var failure: String?

    private let attachments: [NSItemProvider]

    init(_ attachments: [NSItemProvider]) {
        self.attachments = attachments
    }

    func load() async {
        guard photo == nil else { return }
        do {
            let entry = try await take()
            do {
                let file = try PhotoFile(url: entry.original)
                try PhotoLimits.check(
                    width: file.width, height: file.height, availableBytes: Memory.available)
            } catch RIDError.notEnoughMemory {
                failure = "This photo is too large for a share sheet. It waits in the app RID."
                return
            }
            photo = PhotoModel(
                entry, vault: AppGroup.vault, library: .bundled(), previewScale: 1)
        } catch {
            failure = error.localizedDescription
        }
    }

    private func take() async throws -> PhotoVault.Entry {
        let type = UTType.image.identifier
        guard let item = attachments.first(where: { $0.hasItemConformingToTypeIdentifier(type) })
        else { throw RIDError.photoUnreadable("what was shared holds no photo") }
        let copy = try await withCheckedThrowingContinuation {
            (continuation: CheckedContinuation<URL, any Error>) in
            _ = item.loadFileRepresentation(forTypeIdentifier: type) { file, error in
                // The file is gone when this closure returns.
                continuation.resume(with: Result { try Self.copied(file, error) })
            }
        }
        defer { try? FileManager.default.removeItem(at: copy) }
        return try await AppGroup.vault.add(copying: copy)
    }

    private nonisolated static func copied(_ file: URL?, _ error: (any Error)?) throws -> URL {
        guard let file else {
            throw RIDError.photoUnreadable(error?.localizedDescription ?? "it did not arrive")
        }
        let target = FileManager.default.temporaryDirectory
            .appendingPathComponent(UUID().uuidString)
            .appendingPathExtension(file.pathExtension)
        try FileManager.default.copyItem(at: file, to: target)
        return target
    }
}
