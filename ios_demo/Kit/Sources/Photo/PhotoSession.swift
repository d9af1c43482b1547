import CoreGraphics
import Foundation
import RIDCore

/// One photo on its way: opened, looked at, saved.
///
/// The full-size pixels are decoded twice, once to look at them and once to save, and not kept in
/// between: what stays is the perturbation at the working scale (4 MB) and a preview.
public actor PhotoSession {
    /// What `open` found.
    public struct Opened: Sendable {
        public let file: PhotoFile
        /// Of the network, in 8-bit levels.
        public let levels: Int
        /// Faces in the photo; nil if nobody can tell.
        public let faces: Int?
        public let seconds: OpenSeconds
        /// What to know about this photo or the engine, one line each, for people.
        public let notes: [String]
        /// What ran the network.
        public let engine: String
    }

    /// Where the time to the first preview went, in seconds.
    public struct OpenSeconds: Sendable {
        public let decode: Double
        public let scale: Double
        public let network: Double
    }

    /// What `export` did.
    public struct Exported: Sendable {
        public let url: URL
        public let verdict: Verdict
        /// From reading the original to the finished file, and its steps; the network's not
        /// included, which ran before.
        public let seconds: Double
        public let decode: Double
        public let apply: Double
        public let encode: Double
    }

    /// Upright pictures for the screen. `@unchecked`: a `CGImage` never changes.
    public struct Preview: @unchecked Sendable {
        public let before: CGImage
        public let after: CGImage
        /// The change itself, 16 times amplified against a bound of 8 levels.
        public let change: CGImage
    }

    private struct Work {
        let file: PhotoFile
        let unit: FloatImage
        let base: Bitmap
        let before: CGImage
        let colorSpace: CGColorSpace
    }

    private let url: URL
    private let defender: EngineLadder
    private let previewScale: Int
    private var work: Work?

    /// - Parameters:
    ///   - url: the original.
    ///   - defender: the network.
    ///   - previewScale: size of previews as a multiple of the working view (512 on the short
    ///     side). A share extension, which gets 120 MB in all, does with 1.
    public init(url: URL, defender: EngineLadder, previewScale: Int = 2) {
        self.url = url
        self.defender = defender
        self.previewScale = previewScale
    }

    /// Reads the photo and predicts its perturbation.
    ///
    /// - Parameter progress: told the share of the network's part that is done, 0...1.
    /// - Throws: `RIDError`, `CancellationError`.
    public func open(progress: @Sendable (Double) -> Void = { _ in }) async throws -> Opened {
        let clock = ContinuousClock()
        let begin = clock.now
        let file = try PhotoFile(url: url)
        var photo = try file.decode()
        let decoded = clock.now
        let side = defender.side
        let view = try photo.bitmap.withView {
            try Protection.workingView(of: $0, orientation: file.orientation, side: side)
        }
        let base = preview(&photo.bitmap, of: file, like: view)
        let (space, photoNotes) = (photo.colorSpace, photo.notes)
        photo.bitmap = Bitmap(width: 1, height: 1)  // frees the full size while the network runs
        let scaled = clock.now
        let unit = try await Protection.predict(view, with: defender, progress: progress)
        let predicted = clock.now
        guard let before = base.image(space) else {
            throw RIDError.photoUnreadable("there is no memory for a preview")
        }
        work = Work(file: file, unit: unit, base: base, before: before, colorSpace: space)
        let faces = FaceFinder.count(in: before)
        var notes = photoNotes + (await defender.notes)
        if faces == 0 {
            notes.append("No face was found. The photo is protected all the same.")
        }
        return Opened(
            file: file, levels: defender.levels, faces: faces,
            seconds: OpenSeconds(
                decode: (decoded - begin).seconds, scale: (scaled - decoded).seconds,
                network: (predicted - scaled).seconds),
            notes: notes, engine: await defender.engine)
    }

    /// Pictures for the screen at a strength, some tens of milliseconds.
    ///
    /// - Parameter strength: above 0 and at most 1.
    /// - Throws: `CancellationError` when a newer strength made this one pointless.
    public func preview(strength: Double) throws -> Preview {
        let work = try opened()
        var after = work.base
        let budget = try Budget(levels: defender.levels, strength: strength)
        _ = try after.withView { try Protection.apply(work.unit, to: $0, budget: budget) }
        let change = Bitmap(levels: work.unit.amplified(strength: strength))
        let sRGB = CGColorSpace(name: CGColorSpace.sRGB) ?? work.colorSpace
        guard let after = after.image(work.colorSpace), let change = change.image(sRGB) else {
            throw RIDError.photoUnreadable("there is no memory for a preview")
        }
        return Preview(before: work.before, after: after, change: change)
    }

    /// Protects the photo at full size and writes it.
    ///
    /// - Parameters:
    ///   - strength: above 0 and at most 1.
    ///   - keepsLocation: whether the result says where the photo was taken.
    ///   - format: of the result.
    ///   - target: replaced if it exists.
    /// - Throws: `RIDError`, `CancellationError`; nothing is written then.
    public func export(
        strength: Double, keepsLocation: Bool, as format: PhotoFormat, to target: URL
    ) throws -> Exported {
        let work = try opened()
        let clock = ContinuousClock()
        let begin = clock.now
        let budget = try Budget(levels: defender.levels, strength: strength)
        var photo = try work.file.decode()
        let decoded = clock.now
        let verdict = try photo.bitmap.withView {
            try Protection.apply(
                work.unit, to: $0, orientation: work.file.orientation, budget: budget)
        }
        let applied = clock.now
        try Task.checkCancellation()
        try PhotoWriter.write(
            &photo, like: work.file, keepsLocation: keepsLocation, as: format, to: target)
        return Exported(
            url: target, verdict: verdict, seconds: (clock.now - begin).seconds,
            decode: (decoded - begin).seconds, apply: (applied - decoded).seconds,
            encode: (clock.now - applied).seconds)
    }

    private func opened() throws -> Work {
        guard let work else { throw RIDError.photoUnreadable("it was not opened") }
        return work
    }

    /// An upright copy at a whole multiple of the working view.
    private func preview(
        _ bitmap: inout Bitmap, of file: PhotoFile, like view: FloatImage
    ) -> Bitmap {
        let swaps = file.orientation.swapsAxes
        let height = previewScale * (swaps ? view.width : view.height)
        let width = previewScale * (swaps ? view.height : view.width)
        let stored = bitmap.withView {
            FloatImage(resampling: $0, height: height, width: width)
        }
        return Bitmap(levels: stored.turned(file.orientation))
    }
}
