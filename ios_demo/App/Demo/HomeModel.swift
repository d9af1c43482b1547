import Foundation
import Observation
import PhotosUI
import RIDCore
import RIDKit
import SwiftUI

/// The start: photos come in here, by picker, camera or share extension, and go to the vault first.
@MainActor
@Observable
final class HomeModel {
    /// Photos that were not finished, also of an earlier run or of the share extension.
    private(set) var waiting: [PhotoVault.Entry] = []
    /// The photo on the screen.
    var current: PhotoModel?
    var showsCamera = false
    /// What went wrong, in words.
    var failure: String?

    let library = ModelLibrary.bundled()
    private let vault = AppGroup.vault

    /// Looks what is in the vault.
    func refresh() async {
        waiting = await vault.entries()
    }

    func open(_ entry: PhotoVault.Entry) {
        current = PhotoModel(entry, vault: vault, library: library, previewScale: 2)
    }

    func closed() async {
        current = nil
        await refresh()
    }

    /// Takes a photo from the picker: the original file, with its metadata.
    func add(_ item: PhotosPickerItem) async {
        await adding {
            guard let file = try await item.loadTransferable(type: PickedPhoto.self) else {
                throw RIDError.photoUnreadable("Photos gave no file")
            }
            defer { try? FileManager.default.removeItem(at: file.url) }
            return try await self.vault.add(copying: file.url)
        }
    }

    /// Takes a photo from the camera. It is on disk before anything else happens.
    func add(_ shot: Camera.Shot) async {
        await adding {
            defer { self.showsCamera = false }
            return try await self.vault.add(shot.data, fileExtension: shot.fileExtension)
        }
    }

    private func adding(_ body: () async throws -> PhotoVault.Entry) async {
        do {
            open(try await body())
        } catch {
            failure = error.localizedDescription
        }
        await refresh()
    }
}

/// A file from the photo picker, copied to a place of ours while the picker allows it.
private struct PickedPhoto: Transferable {
    let url: URL

    static var transferRepresentation: some TransferRepresentation {
        FileRepresentation(importedContentType: .image) { received in
            let target = FileManager.default.temporaryDirectory
                .appendingPathComponent(UUID().uuidString)
                .appendingPathExtension(received.file.pathExtension)
            try FileManager.default.copyItem(at: received.file, to: target)
            return PickedPhoto(url: target)
        }
    }
}
