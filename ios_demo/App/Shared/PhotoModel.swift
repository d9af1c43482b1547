import Foundation
import Observation
import RIDCore
import RIDKit

/// One photo on the screen: opens it, follows the strength slider, writes the result.
@MainActor
@Observable
final class PhotoModel: Identifiable, Hashable {
    /// What is going on.
    enum Phase: Equatable {
        /// The network is at work; the share that is done, 0...1.
        case opening(Double)
        case ready
        case exporting
        /// In words for the user.
        case failed(String)
    }

    nonisolated let id: UUID
    private(set) var phase = Phase.opening(0)
    private(set) var opened: PhotoSession.Opened?
    private(set) var preview: PhotoSession.Preview?
    private(set) var exported: PhotoSession.Exported?
    /// Whether the result is in the photo library.
    private(set) var isSaved = false

    /// Share of the bound, above 0 and at most 1.
    var strength: Double { didSet { choicesChanged(previewToo: true) } }
    /// Whether the result says where the photo was taken.
    var keepsLocation: Bool { didSet { choicesChanged(previewToo: false) } }
    var format = PhotoFormat.heic { didSet { exported = nil } }

    private let entry: PhotoVault.Entry
    private let vault: PhotoVault
    private let library: ModelLibrary
    private let previewScale: Int
    private var session: PhotoSession?
    private var previewTask: Task<Void, Never>?
    private var work: Task<Void, Never>?
    /// Counts what was started.
    private var turn = 0

    /// - Parameter previewScale: see `PhotoSession`.
    init(
        _ entry: PhotoVault.Entry, vault: PhotoVault, library: ModelLibrary, previewScale: Int
    ) {
        self.entry = entry
        self.vault = vault
        self.library = library
        self.previewScale = previewScale
        id = entry.id
        strength = entry.choices.strength
        keepsLocation = entry.choices.keepsLocation
    }

    nonisolated static func == (one: PhotoModel, other: PhotoModel) -> Bool { one === other }

    nonisolated func hash(into hasher: inout Hasher) { hasher.combine(id) }

    /// Reads the photo and runs the network; again after a failure or a stop.
    func open() {
        start(.opening(0)) { [self] in
            let defender = try await library.ladder(library.preferredName())
            let session = PhotoSession(
                url: entry.original, defender: defender, previewScale: previewScale)
            let opened = try await session.open { share in
                Task { @MainActor in self.progressed(share) }
            }
            format = opened.file.format
            preview = try await session.preview(strength: strength)
            self.session = session
            self.opened = opened
        }
    }

    /// Writes the protected photo at full size.
    func export() {
        guard let session else { return }
        start(.exporting) { [self] in
            let target = await vault.resultURL(id, fileExtension: format.fileExtension)
            exported = try await session.export(
                strength: strength, keepsLocation: keepsLocation, as: format, to: target)
        }
    }

    /// Puts the result into the photo library.
    func save() {
        guard let exported else { return }
        start(.exporting) { [self] in
            try await PhotoLibrary.add(exported.url)
            isSaved = true
        }
    }

    /// Stops what is going on; the photo stays in the vault.
    func stop() {
        work?.cancel()
    }

    /// Ends the way of this photo: it was saved or shared, or is not wanted.
    func discard() async {
        stop()
        try? await vault.remove(id)
    }

    private func progressed(_ share: Double) {
        if case .opening = phase { phase = .opening(share) }
    }

    private func choicesChanged(previewToo: Bool) {
        exported = nil
        isSaved = false
        let choices = PhotoVault.Choices(strength: strength, keepsLocation: keepsLocation)
        previewTask?.cancel()
        previewTask = Task { [self] in
            // A slider sends many values; only the last of a burst counts.
            try? await Task.sleep(for: .milliseconds(40))
            guard !Task.isCancelled else { return }
            try? await vault.update(id, choices: choices)
            if previewToo, let session,
                let fresh = try? await session.preview(strength: choices.strength),
                !Task.isCancelled
            {
                preview = fresh
            }
        }
    }

    private func start(_ phase: Phase, _ body: @escaping @MainActor () async throws -> Void) {
        work?.cancel()
        turn += 1
        let turn = turn
        self.phase = phase
        work = Task { [self] in
            let outcome: Phase
            do {
                try await body()
                outcome = .ready
            } catch is CancellationError {
                outcome = opened == nil ? .failed("Stopped. The photo is kept.") : .ready
            } catch {
                outcome = .failed(error.localizedDescription)
            }
            // Unless something else has been started meanwhile.
            if turn == self.turn { self.phase = outcome }
        }
    }
}
